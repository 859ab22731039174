//! What a process gives up before it reads a file that may be hostile: resources, the file system, the network, other
//! processes. Each protection that the system refuses is named and the others hold.

use std::collections::BTreeMap;

/// Confines this process for good. Returns the protections that could not be had.
pub(super) fn confine(cpu_seconds: u64, memory: u64) -> Vec<String> {
    let mut missing = Vec::new();
    let mut take = |what: &str, result: Result<(), String>| {
        if let Err(error) = result {
            missing.push(format!("{what}: {error}"));
        }
    };
    take("limits", limits(cpu_seconds, memory));
    take("no new privileges", no_new_privileges());
    take("Landlock", no_files());
    take("few open files", few_open_files());
    take("seccomp", few_calls());
    missing
}

#[cfg(target_os = "linux")]
mod linux {
    use super::BTreeMap;
    use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
    use rustix::process::{Resource, Rlimit, Signal, setrlimit};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };

    fn limit(resource: Resource, soft: u64, hard: u64) -> Result<(), String> {
        let limit = Rlimit {
            current: Some(soft),
            maximum: Some(hard),
        };
        setrlimit(resource, limit).map_err(|error| format!("{resource:?}: {error}"))
    }

    pub(super) fn limits(cpu_seconds: u64, memory: u64) -> Result<(), String> {
        limit(Resource::As, memory, memory)?;
        // The first limit ends the process with a signal that says why, the second one in any case.
        limit(Resource::Cpu, cpu_seconds, cpu_seconds + 1)?;
        limit(Resource::Fsize, 0, 0)?;
        limit(Resource::Nproc, 0, 0)?;
        limit(Resource::Core, 0, 0)?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())
    }

    pub(super) fn no_new_privileges() -> Result<(), String> {
        rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string())
    }

    /// No path may be opened, made or removed; no port bound or connected to; no other process signalled.
    pub(super) fn no_files() -> Result<(), String> {
        let abi = ABI::V6;
        let restricted = Ruleset::default()
            .handle_access(AccessFs::from_all(abi))
            .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
            .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
            .and_then(landlock::Ruleset::create)
            .and_then(landlock::RulesetCreated::restrict_self)
            .map_err(|error| error.to_string())?;
        if restricted.ruleset == RulesetStatus::NotEnforced {
            return Err("the kernel does not have it".to_owned());
        }
        Ok(())
    }

    /// Standard input, output and error, and no more.
    pub(super) fn few_open_files() -> Result<(), String> {
        limit(Resource::Nofile, 3, 3)
    }

    /// Lets through what reading, writing, memory and the end of the process take; everything else fails with "not
    /// permitted", which a parser survives and a test can see.
    pub(super) fn few_calls() -> Result<(), String> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = [
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_readv,
            libc::SYS_close,
            libc::SYS_fstat,
            libc::SYS_lseek,
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_madvise,
            libc::SYS_brk,
            libc::SYS_futex,
            libc::SYS_getrandom,
            libc::SYS_clock_gettime,
            libc::SYS_gettid,
            libc::SYS_getpid,
            libc::SYS_sched_yield,
            libc::SYS_sigaltstack,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_restart_syscall,
            libc::SYS_exit,
            libc::SYS_exit_group,
        ]
        .into_iter()
        .map(|call| (call, Vec::new()))
        .collect();
        let error = |error: seccompiler::BackendError| error.to_string();
        // Memory, but none that can be executed.
        let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            let no_code = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(executable), 0)
                .map_err(error)?;
            rules.insert(call, vec![SeccompRule::new(vec![no_code]).map_err(error)?]);
        }
        // A signal to itself: that is how a process aborts.
        let own = u64::from(std::process::id());
        let itself = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, own).map_err(error)?;
        rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![itself]).map_err(error)?]);
        let architecture = std::env::consts::ARCH.try_into().map_err(error)?;
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Errno(libc::EPERM.unsigned_abs()),
            SeccompAction::Allow,
            architecture,
        )
        .map_err(error)?;
        let program: BpfProgram = filter.try_into().map_err(error)?;
        seccompiler::apply_filter(&program).map_err(|error| error.to_string())
    }
}

#[cfg(target_os = "linux")]
use linux::{few_calls, few_open_files, limits, no_files, no_new_privileges};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    pub(super) fn refuse() -> Result<(), String> {
        Err("it is known for Linux only".to_owned())
    }
    pub(super) fn limits(_: u64, _: u64) -> Result<(), String> {
        refuse()
    }
    pub(super) use refuse as no_new_privileges;
    pub(super) use refuse as no_files;
    pub(super) use refuse as few_open_files;
    pub(super) use refuse as few_calls;
}

#[cfg(not(target_os = "linux"))]
use elsewhere::{few_calls, few_open_files, limits, no_files, no_new_privileges};
