//! The sentence that says what came out, in the question's language.

use super::amount::Measure;
use super::compute::{Found, Gap, Result, Said};
use super::cue::{Bound, Degree};
use super::view::View;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Simplified,
    Traditional,
    English,
}

impl Script {
    /// The words in this script: simplified, traditional, English.
    fn pick<'a>(self, simplified: &'a str, traditional: &'a str, english: &'a str) -> &'a str {
        match self {
            Self::Simplified => simplified,
            Self::Traditional => traditional,
            Self::English => english,
        }
    }

    fn english(self) -> bool {
        self == Self::English
    }
}

pub(super) fn sentence(found: &Found, view: &View<'_>, script: Script) -> String {
    let name = |attribute: usize| {
        let shown = &view.attributes[attribute].name.shown;
        // A table of two columns often heads the second with nothing but "标准".
        if view.attributes.len() == 1 && is_bare(shown) {
            String::new()
        } else {
            shown.clone()
        }
    };
    let mut text = match &found.result {
        Result::Values(lists) => {
            let lists = lists
                .iter()
                .map(|(attribute, said)| headed(&name(*attribute), &values(said, script), script));
            lists
                .collect::<Vec<_>>()
                .join(if script.english() { "; " } else { "；" })
        }
        Result::Compared {
            attribute,
            said,
            greatest,
            least,
            gap,
            degree,
            measure,
        } => {
            let compared = compared(said, greatest, least, *degree, *measure, script);
            let gap = gap.as_ref().map(|gap| gap_words(gap, script)).unwrap_or_default();
            headed(
                &name(*attribute),
                &format!("{}{}{compared}{gap}", values(said, script), comma(script)),
                script,
            )
        }
        Result::Most {
            attribute,
            said,
            degree,
            measure,
        } => {
            let most = most(*degree, *measure, script);
            let name = name(*attribute);
            if script.english() {
                format!("{} {}: {}", capital(most), name.to_lowercase(), values(said, script)).replace(" : ", ": ")
            } else {
                let ends = said.iter().map(|said| format!("{}（{}）", said.name, said.value));
                format!("{name}{most}的是{}", ends.collect::<Vec<_>>().join("、"))
            }
        }
        Result::Filtered { .. } => filtered(&found.result, &name, script),
        Result::Things { names, counted } => {
            let listed = names.join(if script.english() { ", " } else { "、" });
            match (script, counted) {
                (Script::English, true) => format!("{} in all: {listed}", names.len()),
                (Script::English, false) => listed,
                (_, true) => format!("共{}{}：{listed}", names.len(), script.pick("项", "項", "")),
                (_, false) => format!("有：{listed}"),
            }
        }
    };
    text.push_str(if script.english() { "." } else { "。" });
    text
}

fn comma(script: Script) -> &'static str {
    if script.english() { "; " } else { "，" }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

/// Heads that say nothing of what stands below them.
fn is_bare(name: &str) -> bool {
    const BARE: [&str; 10] = [
        "标准", "標準", "内容", "內容", "收费", "说明", "金额", "standard", "value", "details",
    ];
    BARE.contains(&name.to_lowercase().as_str())
}

fn headed(name: &str, text: &str, script: Script) -> String {
    match (name, script) {
        ("", _) => text.to_owned(),
        (name, Script::English) => format!("{name}: {text}"),
        (name, _) => format!("{name}：{text}"),
    }
}

fn values(said: &[Said], script: Script) -> String {
    let one = |said: &Said| {
        let latin = said.name.ends_with(|c: char| c.is_ascii_alphanumeric())
            && said.value.starts_with(|c: char| c.is_ascii_alphanumeric());
        format!(
            "{}{}{}",
            said.name,
            if script.english() || latin { " " } else { "" },
            said.value
        )
    };
    said.iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(if script.english() { ", " } else { "，" })
}

fn names(said: &[Said], places: &[usize], script: Script) -> String {
    let names: Vec<&str> = places.iter().map(|place| said[*place].name.as_str()).collect();
    names.join(if script.english() { " and " } else { "和" })
}

/// The words for an end: what lasts is long or short, all else high or low.
fn most(degree: Degree, measure: Measure, script: Script) -> &'static str {
    match (measure, degree.more) {
        (Measure::Time, true) => script.pick("最长", "最長", "longest"),
        (Measure::Time, false) => script.pick("最短", "最短", "shortest"),
        (_, true) => script.pick("最高", "最高", "highest"),
        (_, false) => script.pick("最低", "最低", "lowest"),
    }
}

fn more(degree: Degree, measure: Measure, script: Script) -> &'static str {
    match (measure, degree.more) {
        (Measure::Time, true) => script.pick("更长", "更長", "longer"),
        (Measure::Time, false) => script.pick("更短", "更短", "shorter"),
        (_, true) => script.pick("更高", "更高", "higher"),
        (_, false) => script.pick("更低", "更低", "lower"),
    }
}

/// Who is ahead, or that nobody is.
fn compared(
    said: &[Said],
    greatest: &[usize],
    least: &[usize],
    degree: Option<Degree>,
    measure: Measure,
    script: Script,
) -> String {
    if greatest.is_empty() {
        return script.pick("相同", "相同", "the same").to_owned();
    }
    let Some(degree) = degree else {
        return match said.len() {
            2 => String::new(),
            _ => script
                .pick("最高与最低", "最高與最低", "from highest to lowest ")
                .to_owned(),
        };
    };
    let best = names(said, if degree.more { greatest } else { least }, script);
    let word = if said.len() > 2 {
        most(degree, measure, script)
    } else {
        more(degree, measure, script)
    };
    match (script, said.len()) {
        (Script::English, 2) => format!("{best} is {word}, "),
        (Script::English, _) => format!("{best} is the {word}, "),
        (_, 2) => format!("{best}{word}，"),
        (_, _) => format!("{best}{word}，{}", script.pick("最高与最低", "最高與最低", "")),
    }
}

/// By how much, with the sum where something was computed.
fn gap_words(gap: &Gap, script: Script) -> String {
    let words = script.pick("相差", "相差", "the difference is ");
    // Percentages are apart by points: 2% is not 1% more than 1%.
    let shown = match gap.shown.strip_suffix('%') {
        Some(points) => format!("{points}{}", script.pick("个百分点", "個百分點", " percentage points")),
        None => gap.shown.clone(),
    };
    match gap.sum {
        None => format!("{words}{shown}"),
        Some([greater, lesser, difference]) => {
            let sum = format!("{greater} − {lesser} = {difference}");
            match script {
                Script::English => format!("{words}{shown} ({sum}, computed from the table)"),
                _ => format!(
                    "{words}{shown}（{sum}，{}）",
                    script.pick("按表中数字计算", "按表中數字計算", "")
                ),
            }
        }
    }
}

fn filtered(result: &Result, name: &impl Fn(usize) -> String, script: Script) -> String {
    let Result::Filtered {
        attribute,
        said,
        limit,
        counted,
        bound,
    } = result
    else {
        return String::new();
    };
    let name = name(*attribute);
    let condition = match limit.as_ref().map(|limit| limit.bound) {
        None => script.pick("免费", "免費", "free").to_owned(),
        Some(Bound::Above) => format!("{}{bound}", script.pick("超过", "超過", "above ")),
        Some(Bound::Below) => format!("{}{bound}", script.pick("低于", "低於", "below ")),
        Some(Bound::AtLeast) => format!("{}{bound}", script.pick("不低于", "不低於", "at least ")),
        Some(Bound::AtMost) => format!("{}{bound}", script.pick("不超过", "不超過", "at most ")),
    };
    if said.is_empty() {
        return match script {
            Script::English => format!("None in the table: {} {condition}", name.to_lowercase()),
            _ => format!("表中{}{name}{condition}的", script.pick("没有", "沒有", "")),
        };
    }
    let listed: Vec<String> = said
        .iter()
        .map(|said| match limit {
            None => said.name.clone(),
            Some(_) if script.english() => format!("{} ({})", said.name, said.value),
            Some(_) => format!("{}（{}）", said.name, said.value),
        })
        .collect();
    let listed = listed.join(if script.english() { ", " } else { "、" });
    match (script, counted) {
        (Script::English, true) => format!("{name} {condition}: {} in all: {listed}", said.len()),
        (Script::English, false) => format!("{name} {condition}: {listed}"),
        (_, true) => format!(
            "{name}{condition}的共{}{}：{listed}",
            said.len(),
            script.pick("项", "項", "")
        ),
        (_, false) => format!("{name}{condition}的有：{listed}"),
    }
}
