//! The fixed sentences of flows, in the customer's language.

use super::super::definition::{Check, Rule, Slot, SlotKind};
use crate::domain::Language;

fn pick(language: Language, zh: &str, en: &str) -> String {
    match language {
        Language::Zh => zh.to_owned(),
        Language::En => en.to_owned(),
    }
}

/// The flow's file was changed.
pub(super) fn replaced(language: Language) -> String {
    pick(
        language,
        "抱歉，这项办理的步骤刚刚更新，请重新开始。",
        "Sorry, the steps of this task have just changed; please start again.",
    )
}

/// The customer wanted it no more.
pub(super) fn cancelled(language: Language, title: &str) -> String {
    match language {
        Language::Zh => format!("好的，已取消“{title}”。还有什么可以帮您？"),
        Language::En => format!("All right, I have cancelled \"{title}\". Is there anything else?"),
    }
}

/// A value was changed.
pub(super) fn changed(language: Language, label: &str, value: &str) -> String {
    match language {
        Language::Zh => format!("好的，{label}改为{value}。"),
        Language::En => format!("All right, {label}: {value}."),
    }
}

/// What is done cannot be changed.
pub(super) fn too_late(language: Language, label: &str) -> String {
    match language {
        Language::Zh => format!("已经提交，{label}不能再改；如需修改请输入“转人工”。"),
        Language::En => {
            format!("It has been submitted, so {label} cannot be changed; type \"agent\" to reach a person.")
        }
    }
}

/// The answer was not understood.
pub(super) fn not_understood(language: Language, slot: &Slot) -> String {
    if !slot.error.is_empty() {
        return slot.error.get(language).to_owned();
    }
    let label = slot.label.get(language);
    match (language, slot.kind) {
        (Language::Zh, SlotKind::YesNo) => "请回答“是”或“不是”。".to_owned(),
        (Language::En, SlotKind::YesNo) => "Please answer yes or no.".to_owned(),
        (Language::Zh, SlotKind::Address) => format!("没听明白{label}，请写全城市、街道和门牌号。"),
        (Language::En, SlotKind::Address) => format!("Please give the whole {label}, with city, street and number."),
        (Language::Zh, _) => format!("没听明白，请再说一下{label}。"),
        (Language::En, _) => format!("I did not get that; please give the {label} again."),
    }
}

/// A day that is not computed.
pub(super) fn which_day(language: Language, slot: &Slot) -> String {
    if slot.error.is_empty() {
        pick(
            language,
            "这个日期我算不准，请说具体的月日，例如“12月3号”。",
            "I cannot tell that day; please give month and day, for example \"December 3\".",
        )
    } else {
        slot.error.get(language).to_owned()
    }
}

/// More than one choice.
pub(super) fn one_of_them(language: Language) -> String {
    pick(language, "请只选一个。", "Please choose just one.")
}

/// A day without a time, or the reverse.
pub(super) fn other_half(language: Language, time_missing: bool) -> String {
    if time_missing {
        pick(language, "请问几点？", "At what time?")
    } else {
        pick(language, "请问哪一天？", "On which day?")
    }
}

/// A check that does not hold.
pub(super) fn check_failed(language: Language, slot: &Slot, check: &Check) -> String {
    if !check.error.is_empty() {
        return check.error.get(language).to_owned();
    }
    let (label, number) = (slot.label.get(language), check.number);
    let clock = format!("{:02}:{:02}", (number / 60.0) as i32, (number % 60.0) as i32);
    match (language, check.rule) {
        (Language::Zh, Rule::Min) => format!("{label}不能小于{number}。"),
        (Language::En, Rule::Min) => format!("The {label} must be at least {number}."),
        (Language::Zh, Rule::Max) => format!("{label}不能大于{number}。"),
        (Language::En, Rule::Max) => format!("The {label} must be at most {number}."),
        (Language::Zh, Rule::NotPast) => format!("{label}不能早于现在。"),
        (Language::En, Rule::NotPast) => format!("The {label} must not be in the past."),
        (Language::Zh, Rule::NotFuture) => format!("{label}不能晚于现在。"),
        (Language::En, Rule::NotFuture) => format!("The {label} must not be in the future."),
        (Language::Zh, Rule::MinDaysAhead) => format!("{label}最早是{number}天以后。"),
        (Language::En, Rule::MinDaysAhead) => format!("The {label} must be at least {number} days ahead."),
        (Language::Zh, Rule::MaxDaysAhead) => format!("{label}最晚是{number}天以内。"),
        (Language::En, Rule::MaxDaysAhead) => format!("The {label} must be within {number} days."),
        (Language::Zh, Rule::NotBefore) => format!("{label}不能早于{clock}。"),
        (Language::En, Rule::NotBefore) => format!("The {label} must not be before {clock}."),
        (Language::Zh, Rule::NotAfter) => format!("{label}不能晚于{clock}。"),
        (Language::En, Rule::NotAfter) => format!("The {label} must not be after {clock}."),
        (Language::Zh, Rule::MaxChars) => format!("{label}最多{number}个字，请简短一些。"),
        (Language::En, Rule::MaxChars) => format!("The {label} may have {number} characters at most."),
        (_, Rule::Pattern) => not_understood(language, slot),
    }
}

/// Too long for free words.
pub(super) fn too_long(language: Language, label: &str, chars: usize) -> String {
    match language {
        Language::Zh => format!("{label}最多{chars}个字，请简短一些。"),
        Language::En => format!("The {label} may have {chars} characters at most."),
    }
}

/// It cannot be skipped.
pub(super) fn needed(language: Language, label: &str) -> String {
    match language {
        Language::Zh => format!("{label}是必填的，不能跳过。"),
        Language::En => format!("The {label} is needed and cannot be skipped."),
    }
}

/// Before what was asked, after something else.
pub(super) fn reminder(language: Language, title: &str, label: &str) -> String {
    match language {
        Language::Zh => format!("我们继续“{title}”：请提供{label}。"),
        Language::En => format!("Back to \"{title}\": I still need the {label}."),
    }
}

/// Yes or no to an action.
pub(super) fn confirm_again(language: Language) -> String {
    pick(
        language,
        "请回复“确认”或“取消”，也可以告诉我要改哪一项。",
        "Please say \"yes\" or \"cancel\", or tell me what to change.",
    )
}

/// What to change.
pub(super) fn what_to_change(language: Language, labels: &[&str]) -> String {
    match language {
        Language::Zh => format!(
            "好的，先不提交。要改哪一项（{}）？不办了可以说“取消”。",
            labels.join("、")
        ),
        Language::En => format!(
            "All right, nothing is submitted. What should I change ({})? Or say \"cancel\".",
            labels.join(", ")
        ),
    }
}

/// A tool failed once.
pub(super) fn tool_failed(language: Language) -> String {
    pick(
        language,
        "抱歉，系统暂时没有回应。回复“重试”我再试一次，或说“取消”。",
        "Sorry, the system did not answer. Say \"retry\" and I will try again, or \"cancel\".",
    )
}

/// A code was right.
pub(super) fn verified(language: Language) -> String {
    pick(language, "验证通过。", "Thank you, that is right.")
}

/// A code was sent often enough.
pub(super) fn sent_enough(language: Language) -> String {
    pick(
        language,
        "验证码已多次发送，请输入最近收到的那一个。",
        "The code has been sent several times; please type the latest one.",
    )
}

/// There is nothing before.
pub(super) fn first_step(language: Language) -> String {
    pick(language, "已经是第一步了。", "This is the first step.")
}
