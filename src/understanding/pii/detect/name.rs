//! Names in Chinese: after words that announce them, before titles, and alone where nothing else fits.

use super::super::Kind;
use super::super::lexicon::{ends_name, is_given, is_ordinary, surname};
use super::super::scan::Scan;
use super::{Hit, Weight};
use crate::domain::is_han;
use crate::understanding::dictionary::dictionary;

/// What announces a name, for certain: a form's field.
const FIELDS: [&str; 34] = [
    "姓名",
    "名字",
    "收件人",
    "收货人",
    "联系人",
    "寄件人",
    "发件人",
    "收票人",
    "户名",
    "开户人",
    "持卡人",
    "申请人",
    "投保人",
    "被保险人",
    "受益人",
    "签收人",
    "经办人",
    "机主",
    "户主",
    "车主",
    "配送员",
    "快递员",
    "法定代表人",
    "法人",
    "真实姓名",
    "收款人",
    "付款人",
    "客户名",
    "联系人姓名",
    "抬头",
    "名称",
    "负责人",
    "监护人",
    "业主",
];
/// What announces a name in a sentence.
const SENTENCES: [&str; 19] = [
    "我叫",
    "我是",
    "我姓名是",
    "本人",
    "我的名字是",
    "名叫",
    "叫做",
    "我老公叫",
    "我老婆叫",
    "我妈叫",
    "我爸叫",
    "我儿子叫",
    "我女儿叫",
    "我姓",
    "这里是",
    "分配给",
    "她叫",
    "我这边姓",
    "他叫",
];
const LINKS: [&str; 9] = ["是", "为", "叫", "填", "写", "改成", "改为", "就是", "应该是"];
/// Titles after a full name. After a surname alone they are the mask already.
const TITLES: [&str; 19] = [
    "先生", "女士", "小姐", "老师", "经理", "师傅", "同学", "阿姨", "叔叔", "主任", "医生", "律师", "大哥", "大姐",
    "代收", "签收", "亲启", "本人", "同志",
];
/// Surnames that are so much more often a word that nothing less than a whole message, or a name that the dictionary knows, is believed.
const UNSURE: &str = "原来和时于全连应都位向关计解从单保区尚过能会有家商万千百包平成常明年后";
/// Words that begin with a surname's character and follow the words above.
const NOT_NAMES: [&str; 69] = [
    "孙女",
    "安卓",
    "花贝",
    "高达",
    "石化",
    "华为",
    "小米",
    "金额",
    "方便",
    "高兴",
    "安全",
    "时间",
    "成功",
    "明天",
    "白色",
    "黄色",
    "黄金",
    "金色",
    "常用",
    "马上",
    "全部",
    "强制",
    "管理",
    "文件",
    "万元",
    "关于",
    "于是",
    "何时",
    "任何",
    "应该",
    "计划",
    "连接",
    "解决",
    "简单",
    "单位",
    "单号",
    "包装",
    "包裹",
    "车主",
    "成都",
    "武汉",
    "江苏",
    "安徽",
    "贵州",
    "云南",
    "温州",
    "路由",
    "查询",
    "保险",
    "保修",
    "官方",
    "官网",
    "项目",
    "游戏",
    "支付宝",
    "花呗",
    "京东",
    "商家",
    "商品",
    "尚未",
    "许多",
    "老师",
    "家长",
    "顾客",
    "员工",
    "公司",
    "公民",
    "金牌",
    "明确",
];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    announced(scan, hits);
    titled(scan, hits);
    alone(scan, hits);
}

fn push(start: usize, length: usize, weight: Weight, hits: &mut Vec<Hit>) {
    hits.push(Hit {
        kind: Kind::Name,
        span: start..start + length,
        weight,
    });
}

fn announced(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for place in 0..scan.chars.len() {
        let field = FIELDS.iter().filter_map(|word| scan.starts(place, word)).max();
        let sentence = SENTENCES.iter().filter_map(|word| scan.starts(place, word)).max();
        let Some(length) = field.max(sentence) else { continue };
        let mut at = place + length;
        let mut linked = false;
        for _ in 0..2 {
            let marked = scan.skip(at, &[':', ' ', '=', '\n', '"', '(', '-', '—', '?']);
            linked |= scan.slice(at..marked).iter().any(|c| *c != ' ');
            let link = LINKS.iter().filter_map(|link| scan.starts(marked, link)).max();
            linked |= link.is_some();
            at = marked + link.unwrap_or(0);
        }
        let strong = field >= Some(length) && linked
            || scan.starts(place, "我叫").is_some()
            || scan.starts(place, "名叫").is_some();
        if let Some(length) = name(scan, at, strong) {
            push(at, length, Weight::Cue, hits);
            // 张三和李四、王五
            let mut next = at + length;
            while matches!(scan.at(next), Some('、' | '和' | '与' | '跟' | ',' | '/')) {
                let Some(length) = name(scan, next + 1, true).filter(|_| strong) else {
                    break;
                };
                push(next + 1, length, Weight::Cue, hits);
                next += 1 + length;
            }
        }
    }
}

/// The length of the name that begins at a place. Where it is announced for certain, what is no surname's name (阿依古丽,
/// 巴特尔) is one if it stands alone.
fn name(scan: &Scan<'_>, place: usize, strong: bool) -> Option<usize> {
    let rest = scan.slice(place.min(scan.chars.len())..);
    let han = rest.iter().take_while(|c| is_han(**c)).take(9).count();
    if NOT_NAMES.iter().any(|word| scan.starts(place, word).is_some()) {
        return None;
    }
    let Some(first) = surname(rest).filter(|first| *first < han) else {
        // A name of another people: parts with a dot between, or the whole of a field.
        let dotted = rest.get(han).is_some_and(|c| matches!(c, '·' | '•'));
        if strong && dotted && han >= 2 {
            let tail = rest[han + 1..].iter().take_while(|c| is_han(**c)).take(8).count();
            return (tail >= 1).then_some(han + 1 + tail);
        }
        let foreign = strong
            && (2..=5).contains(&han)
            && !rest.iter().take(han).any(|c| ends_name(*c))
            && is_unknown(&rest[..han]);
        return foreign.then_some(han);
    };
    let given = rest[first..han].iter().take_while(|c| !ends_name(**c)).count();
    let title = (1..=2).find(|given| {
        TITLES
            .iter()
            .any(|title| scan.starts(place + first + given, title).is_some())
    });
    let length = match given {
        0 => return None,
        1 => 1,
        _ if title.is_some() => title?,
        2 if han == first + 2 => 2,
        // Two characters, if the second goes with names and does not begin another word.
        _ => {
            let second = rest[first + 1];
            let splits = begins_word(&rest[first + 1..han]) && !is_given(second);
            if is_given(second)
                && !(begins_word(&rest[first + 1..han])
                    && !begins_word(&rest[first + 2..han])
                    && rest.len() > first + 2
                    && word_at(&rest[first + 1..han]))
                || (!splits && strong && given == 2)
            {
                2
            } else {
                1
            }
        }
    };
    let value = &rest[..first + length];
    let plausible = strong || value[first..].iter().any(|c| is_given(*c));
    (plausible && !is_word(value)).then_some(first + length)
}

/// Whether the dictionary has these characters as an ordinary word (names it knows are none).
fn is_word(chars: &[char]) -> bool {
    let text: String = chars.iter().collect();
    let tagged = dictionary().tag(&text, false);
    tagged.len() == 1 && !tagged[0].tag.starts_with("nr") && tagged[0].tag != "x"
}

fn is_unknown(chars: &[char]) -> bool {
    let text: String = chars.iter().collect();
    let words = dictionary().cut(&text, false);
    words.iter().filter(|word| word.word.chars().count() > 1).count() == 0 || words.len() == 1 && !is_word(chars)
}

/// Whether a word of two characters or more begins here.
fn begins_word(chars: &[char]) -> bool {
    chars.len() >= 2 && (2..=chars.len().min(4)).any(|length| is_word(&chars[..length]))
}

/// Whether the first two characters are a word.
fn word_at(chars: &[char]) -> bool {
    chars.len() >= 2 && is_word(&chars[..2])
}

fn titled(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for place in 0..scan.chars.len() {
        if !TITLES.iter().any(|title| scan.starts(place, title).is_some()) {
            continue;
        }
        // The longest first: 欧阳小明, 王小明, 王明.
        for length in [4, 3, 2] {
            let Some(start) = place.checked_sub(length) else {
                continue;
            };
            let value = scan.slice(start..place);
            let Some(first) = surname(value).filter(|first| *first < length && length - first <= 2) else {
                continue;
            };
            let given = value[first..].iter().all(|c| is_han(*c) && !ends_name(*c));
            let known = value[first..].iter().any(|c| is_given(*c));
            if given && known && !is_word(value) && starts_clean(scan, start) {
                push(start, length, Weight::Cue, hits);
                break;
            }
        }
    }
}

/// Whether a name may begin here: the character before is no part of a word that goes on.
fn starts_clean(scan: &Scan<'_>, start: usize) -> bool {
    let Some(before) = scan.before(start).filter(|c| is_han(*c)) else {
        return true;
    };
    !is_word(&[before, scan.chars[start]])
}

/// Names that nothing announces: a surname and one or two characters of given names, which the dictionary cuts exactly so.
fn alone(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut start = 0;
    while start < scan.chars.len() {
        let run = scan.slice(start..).iter().take_while(|c| is_han(**c)).count();
        if run >= 2 {
            within(scan, start, run, hits);
        }
        start += run.max(1);
    }
}

fn within(scan: &Scan<'_>, start: usize, run: usize, hits: &mut Vec<Hit>) {
    let chars = scan.slice(start..start + run);
    let text: String = chars.iter().collect();
    let mut bounds = vec![0];
    for word in dictionary().cut(&text, false) {
        bounds.push(bounds.last().copied().unwrap_or(0) + word.word.chars().count());
    }
    let mut at = 0;
    while at + 1 < run {
        match unannounced(chars, at, &bounds) {
            Some(length) => {
                let whole = length == run || at == 0 && !scan.before(start).is_some_and(is_han) && run - length <= 1;
                push(
                    start + at,
                    length,
                    if whole { Weight::Cue } else { Weight::Shape },
                    hits,
                );
                at += length;
            }
            None => at += 1,
        }
    }
}

/// The length of an unannounced name at a place among Han characters that the dictionary cuts at `bounds`.
fn unannounced(chars: &[char], at: usize, bounds: &[usize]) -> Option<usize> {
    let bound = |place: usize| bounds.binary_search(&place).is_ok();
    if !bound(at)
        || NOT_NAMES
            .iter()
            .any(|word| word.chars().eq(chars[at..].iter().copied().take(word.chars().count())))
    {
        return None;
    }
    let first = surname(&chars[at..])?;
    let ordinary = first == 1 && is_ordinary(chars[at]);
    for given in [2, 1] {
        let end = at + first + given;
        let Some(value) = chars.get(at..end).filter(|_| bound(end)) else {
            continue;
        };
        let names = &value[first..];
        let title: String = names.iter().collect();
        if TITLES.contains(&title.as_str()) || names.iter().any(|c| ends_name(*c)) {
            continue;
        }
        let inside = (at + 1..end).filter(|place| bound(*place)).count();
        // The dictionary knows the whole name, or cuts after the surname; what it joins then is a given name, or no word.
        // Many a word of two characters is a name too: those only after the most frequent surnames.
        let frequent = given == 2 || "王李张刘陈杨赵吴徐孙朱郭".contains(value[0]);
        let known = inside == 0 && frequent && is_known_name(value);
        let cut = bound(at + first) && inside >= 1;
        let pair = given == 2 && cut && !bound(at + first + 1);
        let all = names.iter().all(|c| is_given(*c));
        let (begins, ends) = (at == 0, end == chars.len());
        let exact = begins && ends;
        let fits = match given {
            _ if first == 1 && UNSURE.contains(value[0]) => all && (exact || known),
            2 if ordinary => all && (begins || ends || known || !pair),
            2 => all || !pair && names.iter().any(|c| is_given(*c)),
            _ => all,
        };
        if (known || cut) && fits && (all || !pair) {
            return Some(end - at);
        }
    }
    None
}

/// Whether the dictionary has these characters as the name of somebody.
fn is_known_name(chars: &[char]) -> bool {
    let text: String = chars.iter().collect();
    let tagged = dictionary().tag(&text, false);
    tagged.len() == 1 && tagged[0].tag.starts_with("nr")
}
