//! Sentences with made-up personal data in every disguise that gets past a simple filter, and harmless numbers beside them.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::ops::Range;

/// A text, and where its value stands (by characters), if it has one.
#[derive(Clone, Debug)]
pub struct Example {
    pub text: String,
    pub value: Option<(Range<usize>, &'static str)>,
}

/// How a value is disguised.
const DISGUISES: [fn(&str, &mut StdRng) -> String; 11] = [
    |value, _| value.to_owned(),
    |value, _| value.chars().map(full_width).collect(),
    |value, _| between(value, "\u{200b}", 1),
    |value, _| between(value, " ", 1),
    |value, random| {
        between(
            value,
            ["-", ".", " ", "_", "·"].choose(random).copied().unwrap_or("-"),
            4,
        )
    },
    |value, random| {
        value
            .chars()
            .map(|c| if random.random_bool(0.5) { spoken(c) } else { c })
            .collect()
    },
    |value, _| value.chars().map(cheque).collect(),
    |value, random| {
        value
            .chars()
            .map(|c| if random.random_bool(0.6) { circled(c) } else { c })
            .collect()
    },
    |value, _| value.chars().map(superscript).collect(),
    |value, random| between(value, ["😀", "👍", "❤️"].choose(random).copied().unwrap_or("😀"), 4),
    |value, _| value.chars().map(bold).collect(),
];

/// Sentences around a value: the label, and the text with `{}` in its place.
const SENTENCES: [(&str, &[&str]); 5] = [
    (
        "mobile",
        &[
            "我的手机号是{}，麻烦尽快联系我",
            "手机{}",
            "联系电话：{}",
            "请打{}这个号码找我",
            "收货电话改成{}可以吗",
            "手叽号{}，别打错了",
        ],
    ),
    (
        "id_card",
        &[
            "身份证号{}",
            "我的身份证是{}，帮我查一下进度",
            "证件号码：{}",
            "实名用的是{}，为什么不通过",
        ],
    ),
    (
        "bank_card",
        &[
            "卡号{}扣款失败",
            "我的银行卡是{}",
            "退到{}这张卡上",
            "信用卡卡号：{}，怎么冻结",
        ],
    ),
    ("secret", &["验证码是{}", "密码是{}，登录不上", "我的支付密码：{}"]),
    ("qq", &["我的qq号是{}", "加我QQ：{}"]),
];

/// Sentences about numbers that are nobody's.
const HARMLESS: [&str; 22] = [
    "订单号{order}什么时候发货",
    "我的订单是{order}",
    "咨询订单号:{order} 订单金额:{price}元",
    "运单号SF{order}",
    "买了{price}元的东西",
    "转账{price}元要手续费吗",
    "¥{price}能便宜吗",
    "{date}下的单",
    "{date} 14:30:00 付款成功",
    "打95588没人接",
    "客服电话400-820-{four}",
    "股票600{three}跌了",
    "理财利率3.{two}%",
    "型号SM-G{four}有货吗",
    "一共{price}块，怎么少了",
    "积分{four}分能换什么",
    "余额还有{price}",
    "第{four}号窗口",
    "身份证办理要几天",
    "手机号怎么换绑",
    "人民币一百二十三万四千五百元整",
    "尾号{four}的卡怎么还没到账",
];

/// `n` examples, the same each time: two of three with a value, one harmless.
pub fn examples(n: usize) -> Vec<Example> {
    let mut random = StdRng::seed_from_u64(20_261);
    (0..n)
        .map(|at| {
            if at % 3 == 2 {
                harmless(&mut random)
            } else {
                disguised(at - at / 3, &mut random)
            }
        })
        .collect()
}

fn disguised(at: usize, random: &mut StdRng) -> Example {
    let (label, sentences) = SENTENCES[at % SENTENCES.len()];
    let value = DISGUISES[at / SENTENCES.len() % DISGUISES.len()](&value(label, random), random);
    let sentence = sentences.choose(random).copied().unwrap_or("{}");
    // Every eighth is split over two lines, as over two messages.
    let chars: Vec<char> = value.chars().collect();
    let value = if at % 8 == 7 && chars.len() > 6 {
        let cut = random.random_range(3..chars.len() - 2);
        let (head, tail): (String, String) = (chars[..cut].iter().collect(), chars[cut..].iter().collect());
        format!("{head}\n{tail}")
    } else {
        value
    };
    let start = sentence.split("{}").next().unwrap_or_default().chars().count();
    let end = start + value.chars().count();
    Example {
        text: sentence.replace("{}", &value),
        value: Some((start..end, label)),
    }
}

fn harmless(random: &mut StdRng) -> Example {
    let text = HARMLESS.choose(random).copied().unwrap_or_default();
    // Numbers of orders begin as they do at large shops: with any digit, twelve to sixteen of them.
    let length = random.random_range(12..=16);
    let text = text
        .replace("{order}", &digits(length, random))
        .replace(
            "{price}",
            &format!("{}.{}", random.random_range(1..99_999), digits(2, random)),
        )
        .replace(
            "{date}",
            &format!(
                "2024-{:02}-{:02}",
                random.random_range(1..=12),
                random.random_range(1..=28)
            ),
        )
        .replace("{two}", &digits(2, random))
        .replace("{three}", &digits(3, random))
        .replace("{four}", &digits(4, random));
    let end = text.chars().count();
    Example {
        text,
        value: Some((0..end, "harmless")),
    }
}

/// A made-up value with valid check digits.
pub fn value(label: &str, random: &mut StdRng) -> String {
    match label {
        "mobile" => format!("1{}{}", random.random_range(3..=9), digits(9, random)),
        "id_card" => id_card(random),
        "bank_card" => bank_card(random),
        "qq" => format!("{}{}", random.random_range(1..=9), digits(8, random)),
        _ => digits(6, random),
    }
}

fn digits(count: usize, random: &mut StdRng) -> String {
    (0..count)
        .map(|_| char::from(b'0' + random.random_range(0..10_u8)))
        .collect()
}

fn id_card(random: &mut StdRng) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let region = ["110105", "310115", "440305", "510107", "330106"]
        .choose(random)
        .copied()
        .unwrap_or("110105");
    let born = format!(
        "{}{:02}{:02}",
        random.random_range(1950..2005),
        random.random_range(1..=12),
        random.random_range(1..=28)
    );
    let body = format!("{region}{born}{}", digits(3, random));
    let sum: u32 = body
        .bytes()
        .zip(WEIGHTS)
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    let check = b"10X98765432"[sum as usize % 11];
    format!("{body}{}", char::from(check))
}

fn bank_card(random: &mut StdRng) -> String {
    let body = format!("622{}", digits(15, random));
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let value = u32::from(digit - b'0') << usize::from(at % 2 == 0);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn between(value: &str, mark: &str, every: usize) -> String {
    let chars: Vec<char> = value.chars().collect();
    let groups: Vec<String> = chars.chunks(every).map(|group| group.iter().collect()).collect();
    groups.join(mark)
}

fn full_width(c: char) -> char {
    char::from_u32(u32::from(c) + 0xfee0).unwrap_or(c)
}

fn mapped(c: char, to: &str) -> char {
    c.to_digit(10)
        .and_then(|digit| to.chars().nth(digit as usize))
        .unwrap_or(c)
}

fn spoken(c: char) -> char {
    mapped(c, "零幺二三四五六七八九")
}

fn cheque(c: char) -> char {
    mapped(c, "零壹贰叁肆伍陆柒捌玖")
}

fn circled(c: char) -> char {
    mapped(c, "⓪①②③④⑤⑥⑦⑧⑨")
}

fn superscript(c: char) -> char {
    mapped(c, "⁰¹²³⁴⁵⁶⁷⁸⁹")
}

fn bold(c: char) -> char {
    mapped(c, "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗")
}
