//! The one form in which a head sees texts, when it learns and when it is asked.

use super::lexicon::is_unspaced;
use crate::understanding::normalise;

/// `text` normalised, links as the word `URL`, and without spaces between characters of a script that writes none: somebody who puts
/// them there wants to be misread.
#[must_use]
pub fn prepared(text: &str) -> String {
    let text = normalise(text);
    let mut out = String::with_capacity(text.len());
    for word in text.split(' ') {
        let word = if word.contains("://") || word.starts_with("www.") {
            without_link(word)
        } else {
            word.into()
        };
        let joins = out.chars().next_back().is_some_and(is_unspaced) && word.chars().next().is_some_and(is_unspaced);
        if !out.is_empty() && !joins {
            out.push(' ');
        }
        out.push_str(&word);
    }
    out
}

/// A word with its link replaced: Chinese text before and after it stays.
fn without_link(word: &str) -> String {
    let begin = ["http://", "https://", "www."]
        .iter()
        .filter_map(|start| word.find(start))
        .min()
        .unwrap_or(0);
    let link = &word[begin..];
    let length = link.find(|c: char| !c.is_ascii_graphic()).unwrap_or(link.len());
    format!("{} URL {}", &word[..begin], &link[length..]).trim().to_owned()
}

/// The name of a label as words: what stands in it for a space becomes one.
#[must_use]
pub fn label_words(label: &str) -> String {
    let words = label.replace(['_', '-', '/', '.', ':'], " ");
    prepared(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_within_chinese_go_and_others_stay() {
        assert_eq!(
            prepared("您 好 ，我要 refund  please 退 款"),
            "您好 ,我要 refund please 退款"
        );
        assert_eq!(prepared("点击https://a.example/x?y=1领取 now"), "点击 URL 领取 now");
        assert_eq!(prepared("see www.a.example"), "see URL");
        assert_eq!(label_words("card_lost/原因"), "card lost 原因");
    }
}
