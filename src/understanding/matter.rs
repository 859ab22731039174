//! What a message is about, without what it says of the person: "my number is 138****5678, when do I get my money back?" is
//! searched for by the second half. Masks mean nothing to an embedding, and take their share of it.

use super::normalise::letters;

/// What introduces a value; a clause of these and masks alone says nothing else.
const INTRODUCTIONS: [&str; 58] = [
    "我的",
    "我",
    "本人",
    "你好",
    "您好",
    "这里",
    "手机号码",
    "手机号",
    "手机",
    "电话号码",
    "联系电话",
    "电话",
    "联系方式",
    "联系",
    "号码",
    "号",
    "银行卡号",
    "银行卡",
    "信用卡",
    "卡号",
    "卡",
    "尾号",
    "身份证号码",
    "身份证号",
    "身份证",
    "证件号",
    "护照号",
    "护照",
    "车牌号",
    "车牌",
    "邮箱",
    "邮件",
    "姓名",
    "名字",
    "收件人",
    "地址",
    "实名",
    "住在",
    "住",
    "微信",
    "账号",
    "叫",
    "是",
    "为",
    "在",
    "和",
    "或",
    "my",
    "name",
    "phone",
    "mobile",
    "number",
    "email",
    "card",
    "is",
    "im",
    "iam",
    "and",
];

/// What a number plate begins with.
const PROVINCES: &str = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼";

/// Where a clause ends.
const ENDS: [char; 11] = ['，', ',', '。', '；', ';', '！', '!', '？', '?', '\n', '、'];

/// The message without masks and without the clauses that only introduce them; as it is where nothing else would be left.
#[must_use]
pub fn matter(message: &str) -> String {
    if !message.contains("**") {
        return message.to_owned();
    }
    let mut left = String::with_capacity(message.len());
    for clause in message.split_inclusive(ENDS) {
        if !clause.contains("**") {
            left.push_str(clause);
            continue;
        }
        let rest = unmasked(clause);
        if !introduces(&letters(&rest)) {
            left.push_str(&rest);
        }
    }
    if letters(&left).chars().count() < 2 {
        return message.to_owned();
    }
    left.trim().to_owned()
}

/// The clause without its masks: what stands in brackets with stars, and words with two stars and more.
fn unmasked(clause: &str) -> String {
    let chars: Vec<char> = clause.chars().collect();
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '@' | '.' | '-' | '_');
    let (mut out, mut at) = (String::with_capacity(clause.len()), 0);
    while at < chars.len() {
        let end = if chars[at] == '[' {
            chars[at..]
                .iter()
                .position(|c| *c == ']')
                .map_or(at + 1, |length| at + length + 1)
        } else if part(chars[at]) {
            chars[at..]
                .iter()
                .position(|c| !part(*c))
                .map_or(chars.len(), |length| at + length)
        } else {
            at + 1
        };
        let piece: String = chars[at..end].iter().collect();
        if !piece.contains("**") {
            out.push_str(&piece);
        } else if piece.starts_with(|c: char| c.is_ascii_uppercase()) && out.ends_with(|c| PROVINCES.contains(c)) {
            out.pop();
        }
        at = end;
    }
    out
}

/// Whether a text is made of introductions from beginning to end.
fn introduces(text: &str) -> bool {
    let mut made = vec![false; text.len() + 1];
    made[0] = true;
    for at in 0..text.len() {
        if made[at] {
            for word in INTRODUCTIONS.iter().filter(|word| text[at..].starts_with(**word)) {
                made[at + word.len()] = true;
            }
        }
    }
    made[text.len()]
}

#[cfg(test)]
mod tests {
    use super::matter;

    #[test]
    fn what_is_said_of_the_person_is_left_out() {
        for (message, about) in [
            ("我的手机号是138****5678，退款多久到账？", "退款多久到账？"),
            (
                "我叫[姓名:王**]，卡号622202********0128，信用卡年费多少钱？",
                "信用卡年费多少钱？",
            ),
            (
                "I'm [Name: J***], my card is 6222********0128, when is my bill due?",
                "when is my bill due?",
            ),
            ("我的车牌是沪A****5，信用卡积分怎么兑换？", "信用卡积分怎么兑换？"),
            ("退款多久到账", "退款多久到账"),
        ] {
            assert_eq!(matter(message), about);
        }
    }

    #[test]
    fn what_happened_to_a_thing_stays() {
        assert_eq!(matter("卡622202****0128被偷了，怎么办"), "卡被偷了，怎么办");
        assert_eq!(matter("138****5678"), "138****5678");
        assert_eq!(matter("我的手机号是138****5678"), "我的手机号是138****5678");
    }
}
