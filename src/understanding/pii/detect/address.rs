//! Addresses in Chinese: a chain of places, from the province down to the room.

use super::super::Kind;
use super::super::lexicon::{PROVINCE_ENDS, PROVINCES, city};
use super::super::scan::Scan;
use super::{Hit, Weight};
use crate::domain::is_han;

const CUES: [&str; 20] = [
    "地址", "住址", "住在", "家在", "收货", "寄到", "寄往", "送到", "送货", "邮寄", "住", "位于", "在", "改到", "改成",
    "改为", "户籍", "户口", "上门", "取件",
];
/// Words in which an ending is none: 道路, 门路, 超市 …
const FALSE: [&str; 58] = [
    "超市", "城市", "上市", "股市", "门市", "都市", "市场", "夜市", "菜市", "地区", "小区", "专区", "社区", "园区",
    "校区", "景区", "时区", "分区", "误区", "区别", "知道", "渠道", "通道", "频道", "管道", "味道", "报道", "轨道",
    "道理", "一路", "路由", "线路", "网路", "电路", "套路", "思路", "出路", "半路", "走路", "迷路", "账号", "型号",
    "单号", "卡号", "编号", "符号", "信号", "账号", "口号", "大号", "小号", "几号", "门号", "税号", "序号", "本号",
    "讲座", "号码",
];
const REGION: [char; 7] = ['省', '市', '区', '县', '旗', '州', '盟'];
/// Endings of streets and settlements.
const STREETS: [&str; 26] = [
    "街道",
    "大道",
    "大街",
    "胡同",
    "公路",
    "路",
    "街",
    "巷",
    "弄",
    "道",
    "镇",
    "乡",
    "村",
    "屯",
    "庄",
    "里",
    "条",
    "小区",
    "花园",
    "家园",
    "新村",
    "社区",
    "工业园",
    "开发区",
    "园区",
    "科技园",
];
/// Endings of buildings.
const BUILDINGS: [&str; 20] = [
    "大厦", "公寓", "广场", "大楼", "中心", "苑", "府", "城", "园", "庭", "湾", "阁", "轩", "小学", "中学", "大学",
    "医院", "宿舍", "酒店", "商场",
];
/// Endings of what a number stands before.
const NUMBERED: [&str; 22] = [
    "号楼", "号院", "单元", "号", "栋", "幢", "座", "楼", "层", "室", "户", "弄", "组", "队", "排", "期", "区", "铺",
    "房", "门", "门牌", "座楼",
];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        match address(scan, place) {
            Some(hit) => {
                place = hit.span.end;
                hits.push(hit);
            }
            None => place += 1,
        }
    }
}

/// What a part of an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Province, city, county.
    Region,
    /// Street, village, settlement.
    Street,
    /// Building.
    Building,
    /// Number of a house, a floor, a room.
    Number,
}

fn address(scan: &Scan<'_>, start: usize) -> Option<Hit> {
    let parts = parts(scan, start);
    let end = parts.last()?.1;
    let count = |part: Part| parts.iter().filter(|(kind, _)| *kind == part).count();
    let (regions, streets, buildings, numbers) = (
        count(Part::Region),
        count(Part::Street),
        count(Part::Building),
        count(Part::Number),
    );
    let cue = scan.cue(start, 10, &CUES);
    let fine = streets + buildings + numbers;
    let whole = regions > 0 && (streets + buildings > 0 || numbers > 0 && regions > 1)
        || streets > 0 && numbers > 0 && (numbers > 1 || streets > 1 || has_digit(scan, start, end))
        || buildings > 0 && numbers > 0
        || cue && (regions + fine >= 2 || numbers >= 2)
        || numbers >= 3;
    let weight = if cue || regions > 0 && fine > 1 {
        Weight::Cue
    } else {
        Weight::Shape
    };
    whole.then_some(Hit {
        kind: Kind::Address,
        span: start..end,
        weight,
    })
}

fn has_digit(scan: &Scan<'_>, start: usize, end: usize) -> bool {
    scan.slice(start..end).iter().any(char::is_ascii_digit)
}

/// The parts of an address that begins at a place, each with its end.
fn parts(scan: &Scan<'_>, start: usize) -> Vec<(Part, usize)> {
    let mut parts: Vec<(Part, usize)> = Vec::new();
    let mut at = start;
    while parts.len() < 14 && at - start < 90 {
        let from = if parts.is_empty() {
            at
        } else {
            scan.skip(at, &[' ', ',', '-', '·', '、', '(', ')', '#', '_'])
        };
        if from - at > 2 {
            break;
        }
        let Some((part, end)) = part(scan, from, parts.last().map(|(part, _)| *part)) else {
            break;
        };
        parts.push((part, end));
        at = end;
    }
    parts
}

fn part(scan: &Scan<'_>, place: usize, before: Option<Part>) -> Option<(Part, usize)> {
    let rest = scan.slice(place.min(scan.chars.len())..);
    if let Some(end) = region(scan, place, before) {
        return Some((Part::Region, end));
    }
    if let Some(length) = numbered(scan, place) {
        return Some((Part::Number, place + length));
    }
    // 5-2-301 at the end.
    if matches!(before, Some(Part::Street | Part::Building | Part::Number)) {
        let digits = rest
            .iter()
            .take_while(|c| c.is_ascii_digit() || matches!(c, '-'))
            .count();
        let figures = rest[..digits].iter().filter(|c| c.is_ascii_digit()).count();
        if (1..=4).contains(&figures)
            && digits <= 10
            && !rest.get(digits).is_some_and(|c| {
                matches!(
                    c,
                    '元' | '块' | '个' | '年' | '月' | '天' | '分' | '点' | '.' | '%' | '件' | ':'
                )
            })
        {
            let dashes = rest[..digits].iter().rev().take_while(|c| **c == '-').count();
            return (digits > dashes).then_some((Part::Number, place + digits - dashes));
        }
        if digits > 4
            && rest[..digits].contains(&'-')
            && figures <= 10
            && rest[..digits].split(|c| *c == '-').all(|group| group.len() <= 4)
        {
            return Some((Part::Number, place + digits));
        }
    }
    street(scan, place, before)
}

/// A province, a city, a county at a place.
fn region(scan: &Scan<'_>, place: usize, before: Option<Part>) -> Option<usize> {
    if !matches!(before, None | Some(Part::Region)) {
        return None;
    }
    if let Some(length) = PROVINCES.iter().filter_map(|name| scan.starts(place, name)).max() {
        let end = PROVINCE_ENDS
            .iter()
            .filter_map(|end| scan.starts(place + length, end))
            .max();
        return Some(place + length + end.unwrap_or(0));
    }
    if let Some(length) = city(scan.slice(place..)) {
        let end = place + length;
        if !street_follows(scan, end) {
            return Some(end + usize::from(scan.at(end).is_some_and(|c| REGION.contains(&c))));
        }
    }
    // Anything up to six characters before 市, 区, 县: only where a region stands before, or nothing else can be meant.
    let longest = if before.is_some() { 7 } else { 5 };
    for length in 2..=longest {
        let c = scan.at(place + length - 1).filter(|c| is_han(*c))?;
        if length >= 2
            && REGION.contains(&c)
            && !is_false(scan, place + length - 1)
            && name_like(scan, place, place + length - 1)
        {
            if ["区号", "市场", "区别"]
                .iter()
                .any(|word| scan.starts(place + length - 1, word).is_some())
            {
                return None;
            }
            if street_follows(scan, place + length) {
                continue;
            }
            return Some(place + length);
        }
    }
    None
}

/// 南昌路, 潮州街: the name of a city is that of a street here.
fn street_follows(scan: &Scan<'_>, place: usize) -> bool {
    ["路", "街", "大道", "大街", "巷"]
        .iter()
        .any(|end| scan.starts(place, end).is_some())
}

fn is_false(scan: &Scan<'_>, place: usize) -> bool {
    let around = [place.saturating_sub(1), place];
    FALSE
        .iter()
        .any(|word| around.iter().any(|start| scan.starts(*start, word).is_some()))
}

/// Whether characters may be a name of a place: no words of a sentence among them.
fn name_like(scan: &Scan<'_>, start: usize, end: usize) -> bool {
    const STOPS: &str = "的了是在我你您他她们这那哪吗呢吧啊呀嘛不没有到去给把被与或请问怎么就也还要想说看买卖发货快递寄送退换修单价钱元块个件款会能可以为什几多少全个每本各该某帮查住";
    start < end
        && scan
            .slice(start..end)
            .iter()
            .all(|c| is_han(*c) && !STOPS.contains(*c) || c.is_ascii_alphanumeric())
}

/// A number with what it counts: 5号, 3栋, A座, 1203室, 十二号楼.
fn numbered(scan: &Scan<'_>, place: usize) -> Option<usize> {
    let rest = scan.slice(place.min(scan.chars.len())..);
    let number = |c: &&char| {
        c.is_ascii_alphanumeric()
            || "零一二三四五六七八九十百甲乙丙丁东西南北附".contains(**c)
            || matches!(c, '-' | '/')
    };
    let digits = rest.iter().take_while(number).take(10).count();
    if digits == 0 {
        return None;
    }
    let letters = rest[..digits].iter().filter(|c| c.is_ascii_alphabetic()).count();
    let figures = rest[..digits].iter().filter(|c| c.is_ascii_digit()).count();
    let ending = NUMBERED
        .iter()
        .filter_map(|end| scan.starts(place + digits, end))
        .max()?;
    let end = place + digits + ending;
    let date = scan.at(place + digits) == Some('号')
        && (scan.before(place) == Some('月')
            || figures <= 2
                && matches!(
                    scan.at(end),
                    Some(
                        '前' | '后'
                            | '到'
                            | '下'
                            | '上'
                            | '晚'
                            | '左'
                            | '之'
                            | '就'
                            | '的'
                            | '收'
                            | '发'
                            | '送'
                            | '才'
                    )
                ));
    (letters <= 2 && figures <= 5 && !date && !scan.starts(place + digits, "号码").is_some_and(|_| true))
        .then_some(digits + ending)
}

/// A street, a settlement or a building with its name.
fn street(scan: &Scan<'_>, place: usize, before: Option<Part>) -> Option<(Part, usize)> {
    let longest = if before.is_some() { 12 } else { 6 };
    for length in 1..=longest {
        if !name_like(scan, place, place + length) {
            return None;
        }
        let at = place + length;
        let street = STREETS.iter().filter_map(|end| scan.starts(at, end)).max();
        let building = BUILDINGS.iter().filter_map(|end| scan.starts(at, end)).max();
        let kind = match (street, building) {
            (Some(street), building) if Some(street) >= building => Some((Part::Street, street)),
            (_, Some(building)) => Some((Part::Building, building)),
            _ => None,
        };
        if let Some((kind, ending)) = kind
            && !(is_false(scan, at) && ending == 1)
            && (before.is_some() || length >= 2 || ending >= 2)
        {
            let unsure = ending == 1
                && matches!(
                    scan.at(at),
                    Some('里' | '条' | '城' | '园' | '道' | '府' | '湾' | '庭' | '阁' | '轩' | '苑' | '庄')
                );
            if unsure && before.is_none() {
                continue;
            }
            let mut end = at + ending;
            // 石家庄街: the longer name.
            while let Some(more) = STREETS
                .iter()
                .filter_map(|ending| scan.starts(end, ending))
                .max()
                .filter(|_| kind == Part::Street)
            {
                end += more;
            }
            return Some((kind, end));
        }
    }
    None
}

/// How many characters of an address name province, city and district.
pub(in crate::understanding::pii) fn district(scan: &Scan<'_>, start: usize, end: usize) -> usize {
    let mut at = start;
    for (part, stop) in parts(scan, start) {
        if part != Part::Region || stop > end {
            break;
        }
        at = stop;
    }
    // A street's own name may look like a region; an address that is nothing else shows nothing.
    if at >= end { 0 } else { at - start }
}
