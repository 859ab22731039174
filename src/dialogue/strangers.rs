//! Companies that a question names and no source does: what holds of ours is no answer about them, however alike the question.
//!
//! Embeddings and readers see the likeness ("the telephone number of Bank A") and not the name, so this is decided by words, as
//! in [`super::qualifiers`]. Only companies that do what the one whose knowledge this is may do are looked for: who delivers a parcel
//! or makes a telephone is asked about here all the time.

use crate::understanding::{dictionary, normalise, simplify};

/// What names of such companies end in.
const KINDS: [&str; 14] = [
    "银行",
    "农商行",
    "信用社",
    "保险",
    "人寿",
    "财险",
    "证券",
    "航空",
    "移动",
    "联通",
    "电信",
    "商城",
    "超市",
    "燃气",
];

/// The same in English: words after the name.
const ENGLISH_KINDS: [&str; 6] = ["bank", "insurance", "airlines", "airways", "telecom", "securities"];

/// Short names that everybody knows for a bank, though nothing in them says so.
const SHORT: [&str; 18] = [
    "工行", "农行", "建行", "中行", "交行", "招行", "邮储", "浦发", "兴业", "广发", "icbc", "hsbc", "citi", "citibank",
    "barclays", "jpmorgan", "revolut", "paypal",
];

/// The first company that `question` names and of whose name no text of the knowledge base has the telling word; `unknown` are the
/// words of the question that no text has (see `retrieval::Found::unknown`).
#[must_use]
pub fn stranger(question: &str, unknown: &[String]) -> Option<String> {
    if unknown.is_empty() {
        return None;
    }
    let text = simplify(&normalise(question)).to_lowercase();
    unknown.iter().find_map(|word| {
        if SHORT.contains(&word.as_str()) {
            return Some(word.clone());
        }
        let at = text.find(word.as_str())?;
        let after = &text[at + word.len()..];
        if word.is_ascii() {
            // Words come without their endings.
            let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            let kind = (rest.trim_start().split(|c: char| !c.is_alphanumeric()).next())
                .filter(|next| rest.starts_with(' ') && ENGLISH_KINDS.contains(next))?;
            let name = &text[at..text.len() - rest.len()];
            return Some(format!("{name} {kind}"));
        }
        let whole = KINDS.iter().any(|kind| word.len() > kind.len() && word.ends_with(kind));
        if whole {
            return Some(word.clone());
        }
        let kind = KINDS.iter().find(|kind| after.starts_with(**kind))?;
        names(word).then(|| format!("{word}{kind}"))
    })
}

/// Whether a word can be a name: none that says which, how many or what is done ("哪家银行", "换银行", "购买保险"). The dictionary knows
/// names as any kind of word (平安, 建设).
fn names(word: &str) -> bool {
    if word.chars().count() < 2 {
        return false;
    }
    let tagged = dictionary().tag(word, false);
    let function = |tag: &str| tag != "vn" && tag.starts_with(['r', 'm', 'd', 'p', 'c', 'u', 'q', 'f', 't', 'v']);
    tagged.len() > 1 || !tagged.iter().any(|tag| function(tag.tag))
}

#[cfg(test)]
mod tests {
    use super::stranger;

    fn found(question: &str, unknown: &[&str]) -> Option<String> {
        let unknown: Vec<String> = unknown.iter().map(|word| (*word).to_owned()).collect();
        stranger(question, &unknown)
    }

    #[test]
    fn another_company_is_named() {
        let company = |name: &str| Some(name.to_owned());
        assert_eq!(found("招商银行的电话是多少", &["招商银行"]), company("招商银行"));
        assert_eq!(found("平安银行信用卡怎么还", &["平安"]), company("平安银行"));
        assert_eq!(found("平安銀行信用卡", &["平安"]), company("平安银行"));
        assert_eq!(found("我工行的卡能用吗", &["工行"]), company("工行"));
        assert_eq!(
            found("What is the hotline of Chase Bank?", &["chase"]),
            company("chase bank")
        );
        assert_eq!(found("HSBC hotline", &["hsbc"]), company("hsbc"));
    }

    #[test]
    fn what_the_base_knows_and_what_names_nobody_is_left() {
        assert_eq!(found("招商银行的电话是多少", &[]), None);
        assert_eq!(found("哪家银行利率最高", &["哪家"]), None);
        assert_eq!(found("顺丰快递到了吗", &["顺丰"]), None);
        assert_eq!(found("我想换银行", &["换"]), None);
        assert_eq!(found("购买保险要多少钱", &["购买"]), None);
        assert_eq!(found("bank hours on Mars", &["mar"]), None);
        assert_eq!(found("how do i bank abroad", &["abroad"]), None);
    }
}
