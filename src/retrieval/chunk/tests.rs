use super::*;
use crate::retrieval::parse::{parse_html, parse_markdown, parse_text};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const LIMITS: PassageLimits = PassageLimits { target: 60, max: 120 };

/// Counts as the real tokenizer does on average: one for a Han character, one for four other characters, and two
/// special tokens.
#[allow(clippy::unnecessary_wraps, reason = "it stands for a tokenizer")]
fn count(text: &str) -> Result<usize, InferenceError> {
    let (mut wide, mut narrow) = (0, 0);
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        if c.is_ascii() { narrow += 1 } else { wide += 1 }
    }
    Ok(wide + narrow / 4 + 2)
}

fn cut(parsed: &ParsedDocument, limits: PassageLimits) -> Vec<Passage> {
    let title = parsed.title.clone().unwrap_or_else(|| "文件".to_owned());
    chunk(DocumentId::new(), &title, parsed, limits, &count).unwrap()
}

/// Every passage is the text it says, passages follow each other, nothing but white space is left out, none is too
/// long.
fn assert_sound(parsed: &ParsedDocument, passages: &[Passage], limits: PassageLimits) {
    let mut at = parsed.blocks.first().map_or(0, |block| block.range.start);
    for (ordinal, passage) in passages.iter().enumerate() {
        assert_eq!(passage.ordinal as usize, ordinal);
        assert_eq!(passage.text, parsed.text[passage.start..passage.end]);
        assert!(passage.start >= at, "passages overlap");
        assert!(
            parsed.text[at..passage.start].trim().is_empty(),
            "left out: {:?}",
            &parsed.text[at..passage.start]
        );
        assert_eq!(passage.text.trim(), passage.text);
        assert!(!passage.text.is_empty() && !passage.title_path.is_empty());
        let tokens = count(&searchable_passage(passage)).unwrap();
        assert!(tokens <= limits.max, "{tokens} tokens: {:?}", passage.text);
        at = passage.end;
    }
    assert!(
        parsed.text[at..].trim().is_empty(),
        "left out at the end: {:?}",
        &parsed.text[at..]
    );
}

#[test]
fn passages_follow_headings_and_keep_their_path() {
    let body = "办理挂失需要本人身份证件。".repeat(3);
    let source = format!("# 信用卡\n\n## 挂失\n\n{body}\n\n### 费用\n\n{body}\n\n## 年费\n\n{body}\n");
    let parsed = parse_markdown(source);
    let passages = cut(&parsed, LIMITS);
    assert_sound(&parsed, &passages, LIMITS);
    let paths: Vec<String> = passages.iter().map(Passage::title).collect();
    assert_eq!(paths, ["信用卡 › 挂失", "信用卡 › 挂失 › 费用", "信用卡 › 年费"]);
    assert!(passages[0].text.starts_with("# 信用卡\n\n## 挂失"));
}

#[test]
fn short_neighbours_are_one_passage_under_their_common_title() {
    let parsed = parse_markdown("# 常用电话\n\n## 客服\n\n95500\n\n## 挂失\n\n95501\n\n## 贷款\n\n95502\n".to_owned());
    let passages = cut(&parsed, LIMITS);
    assert_sound(&parsed, &passages, LIMITS);
    assert_eq!(passages.len(), 1);
    assert_eq!(passages[0].title_path, ["常用电话"]);
}

#[test]
fn sentences_stay_whole_where_they_fit() {
    let sentence = "转账单笔限额为五万元，每日累计二十万元，夜间需要复核。";
    let parsed = parse_text(sentence.repeat(20));
    let passages = cut(&parsed, LIMITS);
    assert_sound(&parsed, &passages, LIMITS);
    assert!(passages.len() >= 8);
    for passage in &passages {
        assert!(
            passage.text.starts_with("转账") && passage.text.ends_with('。'),
            "{}",
            passage.text
        );
    }
}

#[test]
fn a_long_table_takes_its_header_along() {
    let rows: String = (0..60)
        .map(|n| format!("| 地区{n} | {n} 元 | 三日 |\n"))
        .collect::<Vec<_>>()
        .concat();
    let parsed = parse_markdown(format!("# 运费\n\n| 地区 | 运费 | 时效 |\n|---|---|---|\n{rows}"));
    let passages = cut(&parsed, LIMITS);
    assert_sound(&parsed, &passages, LIMITS);
    assert!(passages.len() > 3);
    assert_eq!(passages[0].title_path, ["运费"]);
    for passage in &passages[1..] {
        assert_eq!(passage.title_path, ["运费", "地区 | 运费 | 时效"]);
        assert!(
            passage.text.starts_with("| 地区") && passage.text.ends_with('|'),
            "{}",
            passage.text
        );
    }
    let small = parse_markdown("# 运费\n\n| 地区 | 运费 |\n|---|---|\n| 华东 | 8 |\n| 华北 | 9 |\n".to_owned());
    assert_eq!(cut(&small, LIMITS).len(), 1);
}

#[test]
fn hostile_shapes_keep_the_limits() {
    for source in [
        "字".repeat(5_000),
        "a".repeat(20_000),
        "# ".to_owned() + &"长标题".repeat(500) + "\n\n正文。\n",
        "#".to_owned() + &" x".repeat(3_000),
        (1..7)
            .map(|level| format!("{} {}\n\n", "#".repeat(level), "层层标题".repeat(30)))
            .collect::<Vec<_>>()
            .concat()
            + "正文",
        "| a |".repeat(3_000),
        "\u{3000}\n".repeat(2_000) + "尾",
        "- ".repeat(3_000) + "x",
        "😀".repeat(2_000),
    ] {
        let parsed = parse_markdown(source);
        assert_sound(&parsed, &cut(&parsed, LIMITS), LIMITS);
    }
}

/// Markdown as nobody would write it, from all that has a meaning in it.
fn random_markdown(random: &mut StdRng) -> String {
    const PARTS: [&str; 34] = [
        "# ",
        "## ",
        "### 标题 {#id}\n",
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "  ",
        "    ",
        "> ",
        "```\n",
        "|",
        "| a | b |\n|---|---|\n",
        "。",
        "，",
        "；",
        "!",
        ". ",
        "字",
        "信用卡年费",
        "word ",
        "12.5%",
        "[x](http://y)",
        "![i](j)",
        "<b>",
        "</b>",
        "<!-- ",
        " -->",
        "---\n",
        "***",
        "`",
        "\r\n",
        "[ref]: http://z\n",
        "😀",
    ];
    (0..random.random_range(0..400))
        .map(|_| *PARTS.choose(random).unwrap())
        .collect()
}

#[test]
fn any_markdown_is_covered_in_order_and_within_limits() {
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..400 {
        let source = random_markdown(&mut random);
        let limits = PassageLimits {
            target: random.random_range(16..80),
            max: random.random_range(80..200),
        };
        let parsed = parse_markdown(source.clone());
        assert_sound(&parsed, &cut(&parsed, limits), limits);
        let parsed = parse_text(source.clone());
        assert_sound(&parsed, &cut(&parsed, limits), limits);
        let parsed = parse_html(&source.replace("# ", "<h2>").replace("- ", "<li>").replace('|', "<td>")).unwrap();
        assert_sound(&parsed, &cut(&parsed, limits), limits);
    }
}

#[test]
fn a_table_of_contents_is_in_no_passage() {
    let body = "办理挂失需要本人身份证件。".repeat(2);
    let contents = "-   [如何挂失？](#section_a)\n    -   [年费`多少`？](#section_b)\n";
    let source = format!("# 信用卡\n\n开头一段。\n\n{contents}\n## 如何挂失？\n\n{body}\n\n-   见[年费](#section_b)\n");
    let parsed = parse_markdown(source);
    let passages = cut(&parsed, LIMITS);
    let texts: Vec<&str> = passages.iter().map(|passage| passage.text.as_str()).collect();
    assert!(texts.iter().all(|text| !text.contains("多少")), "{texts:?}");
    assert!(texts[0].contains("开头一段。") && texts.concat().contains(&body));
    // Words beside the links make it a list like any other.
    assert!(texts.concat().contains("见[年费]"));
    // With nothing else in the document it is better than nothing.
    let alone = parse_markdown(format!("# 目录\n\n{contents}"));
    assert!(cut(&alone, LIMITS)[0].text.contains("如何挂失"));
    // Two headings that only a table of contents divides do not take it along.
    let between = format!("# 甲\n\n{contents}\n## 乙\n\n短。\n\n## 丙\n\n短。\n");
    let passages = cut(&parse_markdown(between), LIMITS);
    assert!(
        passages.iter().all(|passage| !passage.text.contains("多少")),
        "{passages:?}"
    );
}
