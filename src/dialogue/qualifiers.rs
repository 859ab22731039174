//! Words that change what is asked and exclude each other: a fee for withdrawals *abroad* is no answer to a question about
//! withdrawals *at home*, however alike the two sentences are. Embeddings and readers see mostly the likeness, so this is
//! decided by words.
//!
//! A family holds classes that exclude each other. Families are left out whose other class often *is* the answer ("can I do this at
//! the weekend?", "on working days from nine to five").

use crate::understanding::normalise;
use std::ops::Range;

/// Classes of words that exclude each other.
type Family = [&'static [&'static str]; 2];

/// Words of which one class excludes the other, in both scripts.
const FAMILIES: [Family; 16] = [
    [
        &["境内", "国内", "境內", "國內", "domestic"],
        &[
            "境外",
            "国外",
            "國外",
            "海外",
            "跨境",
            "出境",
            "overseas",
            "abroad",
            "international",
        ],
    ],
    [
        &["借记卡", "储蓄卡", "借記卡", "儲蓄卡", "簽帳金融卡", "debit card"],
        &["信用卡", "贷记卡", "貸記卡", "credit card"],
    ],
    [
        &["个人", "对私", "個人", "personal account", "individual"],
        &[
            "企业",
            "对公",
            "单位账户",
            "公司账户",
            "企業",
            "公司戶",
            "business account",
            "corporate",
        ],
    ],
    [
        &["本行", "同行转", "same bank"],
        &[
            "他行",
            "跨行",
            "别的银行",
            "其他银行",
            "其它银行",
            "別的銀行",
            "其他銀行",
            "another bank",
            "other bank",
        ],
    ],
    [
        &["转入", "汇入", "轉入", "匯入", "incoming"],
        &["转出", "汇出", "轉出", "匯出", "outgoing"],
    ],
    [
        &["开通", "启用", "激活", "開通", "啟用", "activat", "enable"],
        &[
            "关闭",
            "停用",
            "注销",
            "销户",
            "取消",
            "關閉",
            "註銷",
            "deactivat",
            "disable",
        ],
    ],
    [
        &["挂失", "掛失", "report lost"],
        &["解挂", "解除挂失", "解掛", "解除掛失"],
    ],
    [
        &[
            "提高额度",
            "提升额度",
            "调高额度",
            "增加额度",
            "提额",
            "調高額度",
            "提額",
        ],
        &["降低额度", "调低额度", "减少额度", "降额", "調低額度", "降額"],
    ],
    [&["定期", "time deposit", "fixed deposit"], &["活期", "demand deposit"]],
    [&["寄件", "寄出", "发件"], &["收件", "签收", "簽收"]],
    [&["进口", "進口", "import duty"], &["出口", "export duty"]],
    [&["上行", "upload"], &["下行", "download"]],
    [
        &["保修期内", "保内", "保固期內", "in warranty", "under warranty"],
        &["保修期外", "保外", "过保", "過保", "保固期外", "out of warranty"],
    ],
    [&["预付费", "預付", "prepaid"], &["后付费", "後付", "postpaid"]],
    [
        &["单程", "單程", "one-way", "one way"],
        &["往返", "来回", "來回", "round trip", "return ticket"],
    ],
    [&["入住", "check-in", "check in"], &["退房", "check-out", "check out"]],
];

/// Words that belong to both classes of the first family: who names both excludes none.
const BOTH: [&str; 4] = ["境内外", "国内外", "境內外", "國內外"];

/// Words that make the other class an answer, in the same clause: "only for personal customers" answers a company's question.
const LIMITS: [&str; 17] = [
    "仅", "只", "不", "无法", "除", "均", "都", "无论", "任何", "僅", "無法", "無論", "only", "not", "except", "both",
    "all ",
];

/// Where a clause ends.
const CLAUSE_ENDS: [char; 10] = ['，', '。', '；', '！', '？', '\n', '|', ';', '!', '?'];

/// Whether the words asked with exclude what `evidence` is about: both name a class of the same family, and not the same.
#[must_use]
pub fn contradicts(question: &str, evidence: &str) -> bool {
    let question = normalise(question).to_lowercase();
    let evidence: Vec<String> = evidence
        .split(CLAUSE_ENDS)
        .map(|clause| normalise(clause).to_lowercase())
        .collect();
    FAMILIES.iter().any(|family| {
        let asked = classes(&question, family);
        let said = evidence.iter().fold((false, false), |said, clause| {
            let named = classes(clause, family);
            let limited = (named.0 || named.1) && LIMITS.iter().any(|word| clause.contains(word));
            (said.0 || named.0 || limited, said.1 || named.1 || limited)
        });
        matches!(
            (asked, said),
            ((true, false), (false, true)) | ((false, true), (true, false))
        )
    })
}

/// Which of the two classes a text names. Of words that overlap the longest counts: 解除挂失 is no 挂失.
fn classes(text: &str, family: &Family) -> (bool, bool) {
    if BOTH.iter().any(|word| text.contains(word)) && family[0].contains(&"境内") {
        return (true, true);
    }
    let names = |class: usize| {
        family[class].iter().any(|word| {
            text.match_indices(word).any(|(at, _)| {
                !family[1 - class]
                    .iter()
                    .any(|other| covers(text, other, at..at + word.len()))
            })
        })
    };
    (names(0), names(1))
}

/// Whether a longer `word` stands over this part of the text.
fn covers(text: &str, word: &str, part: Range<usize>) -> bool {
    word.len() > part.len()
        && text
            .match_indices(word)
            .any(|(start, _)| start <= part.start && part.end <= start + word.len())
}

#[cfg(test)]
mod tests {
    use super::contradicts;

    #[test]
    fn what_excludes_what_was_asked_contradicts() {
        for (question, evidence) in [
            ("境外取现手续费多少", "可以。境内ATM取现手续费为金额的1%，最低10元。"),
            ("国外刷卡要手续费吗", "国内刷卡免手续费。"),
            ("借记卡年费多少", "信用卡年费每年300元。"),
            ("公司的企业账户怎么开", "个人账户凭身份证开立。"),
            ("怎么解除挂失", "信用卡挂失请拨打客服热线。"),
            ("怎么关闭短信通知", "短信通知在“设置”里开通。"),
            ("How much is an overseas withdrawal?", "Domestic withdrawals are free."),
            ("境外提款手續費", "境內提款免手續費"),
        ] {
            assert!(contradicts(question, evidence), "{question} / {evidence}");
        }
    }

    #[test]
    fn what_names_the_same_or_nothing_or_a_limit_does_not() {
        for (question, evidence) in [
            ("境外取现手续费多少", "境外ATM取现手续费为金额的3%。"),
            ("境外取现手续费多少", "境内取现1%，境外取现3%。"),
            ("境外取现手续费多少", "取现手续费为金额的1%。"),
            ("取现手续费多少", "境内取现手续费为金额的1%。"),
            ("企业能办吗", "仅限个人客户办理。"),
            ("境外能用吗", "境内外均可使用。"),
            ("怎么解除挂失", "解除挂失请到网点。"),
            ("信用卡能从储蓄卡还款吗", "储蓄卡自动还款在每月到期日扣款。"),
            ("Is my credit card blocked abroad?", "Your card works in all countries."),
        ] {
            assert!(!contradicts(question, evidence), "{question} / {evidence}");
        }
    }
}
