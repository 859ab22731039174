//! What the language model is given, within its budget.

use crate::domain::Language;
use crate::inference::{ChatMessage, ChatRole, InferenceError, LanguageModel};
use std::fmt::Write;

/// The messages for an answer to `question` from `passages` (title, text), best first, and those of them that fit into
/// `budget` tokens, as they stand in the messages: always at least one.
///
/// The form is the one that small models follow best: passages first, the question last, and no clause that invites a
/// refusal, because such a clause makes a 0.5B model refuse everything. Refusing is decided before, checking after.
///
/// # Errors
/// What the model's tokenizer reports.
pub fn messages<'a>(
    question: &str,
    passages: impl IntoIterator<Item = (&'a str, &'a str)>,
    budget: usize,
    language: Language,
    model: &dyn LanguageModel,
) -> Result<(Vec<ChatMessage>, Vec<String>), InferenceError> {
    let mut material = String::new();
    let (mut used, mut entries) = (0, Vec::new());
    for (title, text) in passages {
        let entry = match language {
            Language::Zh => format!("【{title}】\n{}\n\n", text.trim()),
            Language::En => format!("[{title}]\n{}\n\n", text.trim()),
        };
        used += model.count_tokens(&entry)?;
        if !entries.is_empty() && used > budget {
            break;
        }
        material.push_str(&entry);
        entries.push(entry);
    }
    let system = match language {
        Language::Zh => {
            "你是企业的客服。只依据给出的资料，用一到三句简短的中文直接回答客户。数字、日期、金额和名称照抄资料，不补充资料以外的内容。"
        }
        Language::En => {
            "You are a company's customer service. Answer in one to three short sentences, in English, from the given \
             documents alone. Copy numbers, dates, amounts and names exactly and add nothing."
        }
    };
    let mut user = match language {
        Language::Zh => format!("资料：\n{material}"),
        Language::En => format!("Documents:\n{material}"),
    };
    let written = match language {
        Language::Zh => write!(user, "根据以上资料回答：{question}"),
        Language::En => write!(user, "Answer from the documents above: {question}"),
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
    Ok((
        vec![
            ChatMessage::new(ChatRole::System, system),
            ChatMessage::new(ChatRole::User, user),
        ],
        entries,
    ))
}
