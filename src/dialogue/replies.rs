//! The fixed sentences, in the customer's language.

use crate::domain::Language;

/// When the knowledge base has no answer.
#[must_use]
pub fn refusal(language: Language) -> &'static str {
    match language {
        Language::Zh => {
            "抱歉，现有资料里没有找到这个问题的答案，我不想给您不准确的信息。您可以换个说法再问一次，或输入“转人工”由工作人员为您处理。"
        }
        Language::En => {
            "Sorry, I could not find an answer to this in our documents, and I would rather not guess. Try other words, or \
             type \"agent\" to reach a person."
        }
    }
}

/// Before what may be related, where the question names a company that no source names.
#[must_use]
pub fn clarify_stranger(name: &str, language: Language) -> String {
    match language {
        Language::Zh => format!("现有资料里没有提到“{name}”。下面是我们自己的相关内容，不一定适用，请您看看原文："),
        Language::En => {
            format!(
                "Our documents do not mention \"{name}\". This is what they say of ourselves and may not apply; please see:"
            )
        }
    }
}

/// Before the places where the answer may be, so many of them; `likely` where the first is rather the answer than not.
#[must_use]
pub fn clarify(places: usize, likely: bool, language: Language) -> &'static str {
    match (language, places) {
        (Language::Zh, 0 | 1) if likely => "最可能的答案在这里，请您核对是否符合您的情况：",
        (Language::Zh, _) if likely => "答案很可能在下面几处之一，请您看哪一处符合您的情况：",
        (Language::Zh, _) => "没有找到确切的答案。下面的内容可能有关，请您看看原文：",
        (Language::En, 0 | 1) if likely => "This is most likely the answer; please check that it fits your case:",
        (Language::En, _) if likely => "The answer is most likely in one of these; please see which fits your case:",
        (Language::En, _) => "I did not find an exact answer. This may be related; please see for yourself:",
    }
}

/// After what may be related.
#[must_use]
pub fn clarify_end(language: Language) -> &'static str {
    match language {
        Language::Zh => "都不是的话，请补充一下是哪种业务或商品，或输入“转人工”。",
        Language::En => "If not, tell me which product or service it is about, or type \"agent\" to reach a person.",
    }
}

/// When a person was asked for, or should be.
#[must_use]
pub fn handoff_reply(reason: &str, language: Language) -> &'static str {
    match (reason, language) {
        ("requested", Language::Zh) => "好的，已为您转接人工客服，请稍候。",
        ("requested", Language::En) => "Of course. I am passing you to a colleague; one moment please.",
        ("emotion", Language::Zh) => "非常抱歉给您带来了不好的体验，已为您转接人工客服，请稍候。",
        ("emotion", Language::En) => {
            "I am sorry about the trouble this has caused you. I am passing you to a colleague; one moment please."
        }
        ("risk", Language::Zh) => {
            "您说的情况需要同事马上关注，已为您转接人工客服，请稍候。如有紧急危险，请立即拨打110或120。"
        }
        ("risk", Language::En) => {
            "A colleague should look at this right away. I am passing you on; one moment please. In an emergency, call the emergency \
             services now."
        }
        (_, Language::Zh) => "抱歉没能解决您的问题，已为您转接人工客服，请稍候。",
        (_, Language::En) => "I am sorry that I could not help. I am passing you to a colleague; one moment please.",
    }
}

/// When something failed that the customer can do nothing about.
#[must_use]
pub fn failure_reply(language: Language) -> &'static str {
    match language {
        Language::Zh => "抱歉，系统暂时无法回答，请稍后再试，或输入“转人工”。",
        Language::En => "Sorry, I cannot answer right now. Please try again, or type \"agent\" to reach a person.",
    }
}

/// When a password or a code was in what the customer wrote.
#[must_use]
pub fn secret_notice(language: Language) -> &'static str {
    match language {
        Language::Zh => {
            "为了您的资金安全，请不要发送密码、验证码或安全码，工作人员也不会向您索要。您刚才发送的内容已删除，没有保存。"
        }
        Language::En => {
            "For your safety, please never send passwords or codes; nobody here will ask you for them. What you sent was \
             removed and not kept."
        }
    }
}

/// Before a quotation that stands for an answer.
#[must_use]
pub fn quote_frame(language: Language, title: &str) -> String {
    match language {
        Language::Zh => format!("资料《{title}》中的相关内容如下：\n"),
        Language::En => format!("This is what \"{title}\" says:\n"),
    }
}

/// Before what a table says.
#[must_use]
pub fn table_frame(language: Language, title: &str) -> String {
    match language {
        Language::Zh => format!("根据《{title}》，"),
        Language::En => format!("According to \"{title}\": "),
    }
}

/// After an answer that another source contradicts: what that one says (source `n`), and whether it is known to be older.
#[must_use]
pub fn disagreement(language: Language, title: &str, says: &str, n: u32, older: bool) -> String {
    match (language, older) {
        (Language::Zh, true) => {
            format!("\n注意：较旧的资料《{title}》写的是“{says}”[{n}]，与此不同；以上依据较新的资料。")
        }
        (Language::Zh, false) => format!(
            "\n注意：另一份资料《{title}》写的是“{says}”[{n}]，与此不同，从日期看不出哪一份更新；请向工作人员确认。"
        ),
        (Language::En, true) => {
            format!(
                "\nNote: an older source, \"{title}\", says \"{says}\"[{n}]; the answer above follows the newer one."
            )
        }
        (Language::En, false) => format!(
            "\nNote: another source, \"{title}\", says \"{says}\"[{n}], and their dates do not tell which is newer; please ask \
             a colleague to confirm."
        ),
    }
}
