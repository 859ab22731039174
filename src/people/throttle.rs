//! How often somebody may guess. Counted by account and address together, by account, and by address; each has failures
//! that cost nothing, then waits that double. The memory is bounded.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// After this long without a failure a count begins anew.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Counts that are kept.
const MAX_COUNTS: usize = 30_000;

/// Refusals that are written into the audit log in each [`REPORT_WINDOW`].
const MAX_REPORTS: u32 = 50;
const REPORT_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// What is counted. Names are kept as hashes, so that each takes the same room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Somebody at one place, at one account.
    Pair([u8; 16], [u8; 16]),
    /// Everybody, at one account.
    Account([u8; 16]),
    /// Somebody at one place, at any account.
    Address([u8; 16]),
}

impl Key {
    /// Failures without a wait, and the longest wait in seconds. An account may be guessed at by all the world; its
    /// person must get in all the same, so that wait stays short.
    fn limits(self) -> (u32, i64) {
        match self {
            Self::Pair(..) => (5, 900),
            Self::Account(_) => (20, 60),
            Self::Address(_) => (20, 900),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    last: Timestamp,
}

/// A guess that counts as failed until it is told otherwise: guesses at the same time cannot outrun the count.
#[derive(Debug)]
pub(super) struct Attempt([Key; 3]);

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    counts: HashMap<Key, Count>,
    reports: Option<(Timestamp, u32)>,
}

impl Throttle {
    /// Begins a guess, or says how long to wait.
    pub(super) fn begin(&mut self, name_key: &str, from: IpAddr, now: Timestamp) -> Result<Attempt, Duration> {
        let (name, place) = (shortened(name_key), network(from));
        let keys = [Key::Pair(name, place), Key::Account(name), Key::Address(place)];
        let longest = keys.iter().map(|key| self.wait(*key, now)).max().unwrap_or_default();
        if longest > Duration::ZERO {
            return Err(longest);
        }
        for key in keys {
            self.make_room(key, now);
            let count = self.counts.entry(key).or_insert(Count { failures: 0, last: now });
            count.failures = count.failures.saturating_add(1);
            count.last = now;
        }
        Ok(Attempt(keys))
    }

    /// The guess was right: the account's counts are forgotten, and the guess does not count for the address.
    pub(super) fn succeeded(&mut self, attempt: &Attempt) {
        let [pair, account, address] = attempt.0;
        self.counts.remove(&pair);
        self.counts.remove(&account);
        self.uncount(address);
    }

    /// The guess was never looked at.
    pub(super) fn take_back(&mut self, attempt: &Attempt) {
        attempt.0.into_iter().for_each(|key| self.uncount(key));
    }

    /// Whether a failure is to be written down: if so, how many were not since the last one.
    pub(super) fn report(&mut self, now: Timestamp) -> Option<u32> {
        let (begin, seen) = self.reports.get_or_insert((now, 0));
        let age = now.duration_since(*begin);
        if age >= REPORT_WINDOW || age.is_negative() {
            let unreported = seen.saturating_sub(MAX_REPORTS);
            (*begin, *seen) = (now, 1);
            return Some(unreported);
        }
        *seen = seen.saturating_add(1);
        (*seen <= MAX_REPORTS).then_some(0)
    }

    fn uncount(&mut self, key: Key) {
        if let Some(count) = self.counts.get_mut(&key) {
            count.failures = count.failures.saturating_sub(1);
            if count.failures == 0 {
                self.counts.remove(&key);
            }
        }
    }

    fn wait(&mut self, key: Key, now: Timestamp) -> Duration {
        let Some(count) = self.counts.get_mut(&key) else {
            return Duration::ZERO;
        };
        // A clock that was set back must not make anybody wait for it to come round.
        count.last = count.last.min(now);
        let since = now.duration_since(count.last);
        if since >= WINDOW {
            self.counts.remove(&key);
            return Duration::ZERO;
        }
        let (free, longest) = key.limits();
        let Some(over) = count.failures.checked_sub(free) else {
            return Duration::ZERO;
        };
        let seconds = 1_i64.checked_shl(over.min(32)).unwrap_or(longest).min(longest);
        let left = SignedDuration::from_secs(seconds).saturating_sub(since);
        left.try_into().unwrap_or_default()
    }

    /// Forgets what is over; if little is, the tenth of the counts that says least.
    fn make_room(&mut self, key: Key, now: Timestamp) {
        if self.counts.len() < MAX_COUNTS || self.counts.contains_key(&key) {
            return;
        }
        self.counts.retain(|_, count| now.duration_since(count.last) < WINDOW);
        if self.counts.len() >= MAX_COUNTS {
            let mut order: Vec<_> = self
                .counts
                .iter()
                .map(|(key, count)| (count.failures, count.last, *key))
                .collect();
            order.sort_unstable_by_key(|(failures, last, _)| (*failures, *last));
            for (_, _, key) in order.iter().take(MAX_COUNTS / 10) {
                self.counts.remove(key);
            }
        }
    }
}

fn shortened(text: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// The place an address stands for: one of version 6 stands for its network (/64), which one customer has to itself.
fn network(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            octets
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_COUNTS, MAX_REPORTS, Throttle, WINDOW};
    use jiff::{SignedDuration, Timestamp};
    use std::net::{IpAddr, Ipv4Addr};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + seconds).unwrap()
    }

    fn place(n: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    #[test]
    fn five_failures_are_free_then_waits_double() {
        let mut throttle = Throttle::default();
        for _ in 0..5 {
            throttle.begin("a", place(1), at(0)).unwrap();
        }
        let mut now = 0;
        for wait in [1, 2, 4, 8, 16] {
            let left = throttle.begin("a", place(1), at(now)).unwrap_err();
            assert_eq!(left.as_secs(), wait);
            assert!(throttle.begin("a", place(1), at(now + wait as i64 - 1)).is_err());
            now += wait as i64;
            throttle.begin("a", place(1), at(now)).unwrap();
        }
        // Another place and another account do not wait.
        throttle.begin("a", place(2), at(now)).unwrap();
        throttle.begin("b", place(1), at(now)).unwrap();
        let later = at(now).checked_add(WINDOW).unwrap();
        for _ in 0..5 {
            throttle.begin("a", place(1), later).unwrap();
        }
    }

    #[test]
    fn ten_thousand_guesses_from_everywhere_are_few_in_a_day() {
        let mut throttle = Throttle::default();
        let mut admitted = 0;
        for second in 0..86_400 {
            admitted += u32::from(throttle.begin("admin", place(second), at(second.into())).is_ok());
        }
        assert!((1400..1500).contains(&admitted), "{admitted}: one a minute");
    }

    #[test]
    fn one_place_cannot_try_every_account() {
        let mut throttle = Throttle::default();
        let tried = (0..1000).filter(|n| throttle.begin(&n.to_string(), place(1), at(0)).is_ok());
        assert_eq!(tried.count(), 20);
    }

    #[test]
    fn success_forgets_the_account_and_not_the_place() {
        let mut throttle = Throttle::default();
        for n in 0..40 {
            let attempt = throttle.begin("a", place(1), at(n)).unwrap();
            throttle.succeeded(&attempt);
        }
        for n in 0..19 {
            throttle.begin(&format!("x{n}"), place(1), at(40)).unwrap();
        }
        let attempt = throttle.begin("a", place(1), at(40)).unwrap();
        throttle.succeeded(&attempt);
        throttle.begin("y", place(1), at(40)).unwrap();
        assert!(throttle.begin("z", place(1), at(40)).is_err());
    }

    #[test]
    fn networks_of_version_six_count_as_one_place() {
        let mut throttle = Throttle::default();
        let admitted = (0..100).filter(|n| {
            let address: IpAddr = format!("2001:db8::{n:x}").parse().unwrap();
            throttle.begin("a", address, at(0)).is_ok()
        });
        assert_eq!(admitted.count(), 5);
    }

    #[test]
    fn a_clock_set_back_makes_nobody_wait_long() {
        let mut throttle = Throttle::default();
        for _ in 0..6 {
            let _ = throttle.begin("a", place(1), at(1_000_000));
        }
        let left = throttle.begin("a", place(1), at(0)).unwrap_err();
        assert!(left.as_secs() <= 1, "{left:?}");
    }

    #[test]
    fn memory_is_bounded_and_keeps_those_who_failed_most() {
        let mut throttle = Throttle::default();
        for _ in 0..5 {
            throttle.begin("victim", place(0), at(0)).unwrap();
        }
        for n in 0..20_000 {
            let _ = throttle.begin(&n.to_string(), place(n), at(1));
            assert!(throttle.counts.len() <= MAX_COUNTS);
        }
        assert!(throttle.begin("victim", place(0), at(0)).is_err());
    }

    #[test]
    fn reports_are_few_and_say_how_many_were_not_written() {
        let mut throttle = Throttle::default();
        let written = (0..500).filter(|_| throttle.report(at(0)).is_some()).count();
        assert_eq!(written, MAX_REPORTS as usize);
        let later = at(0).checked_add(SignedDuration::from_mins(10)).unwrap();
        assert_eq!(throttle.report(later), Some(500 - MAX_REPORTS));
        assert_eq!(throttle.report(later), Some(0));
    }
}
