//! What was asked, worked out from the cells: exactly, or not at all.

use super::amount::{Amount, Measure, Unit, Value};
use super::asked::{Asked, Limit};
use super::cue::{Bound, Cue, Degree, Of};
use super::decimal::Decimal;
use super::view::View;
use std::cmp::Ordering;

/// Values that one answer names at most.
const MAX_VALUES: usize = 12;

/// A thing with its value, as both are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) thing: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// The difference of two values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// With its unit.
    pub(super) shown: String,
    /// Greater, lesser and their difference, as bare numbers; `None` where nothing had to be computed.
    pub(super) sum: Option<[Decimal; 3]>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Result {
    /// Values of attributes, one list for each.
    Values(Vec<(usize, Vec<Said>)>),
    /// Two or more values, the places of the greatest and the least among them, and the gap between these where there is one.
    Compared {
        attribute: usize,
        said: Vec<Said>,
        /// Empty where all are the same.
        greatest: Vec<usize>,
        least: Vec<usize>,
        gap: Option<Gap>,
        /// Which end was asked for; `None` for the difference.
        degree: Option<Degree>,
        measure: Measure,
    },
    /// The things that have the greatest or the least value.
    Most {
        attribute: usize,
        said: Vec<Said>,
        degree: Degree,
        measure: Measure,
    },
    /// The things whose value meets a condition: none bound means that it costs nothing.
    Filtered {
        attribute: usize,
        said: Vec<Said>,
        limit: Option<Limit>,
        counted: bool,
        /// With its unit, as the column writes it.
        bound: String,
    },
    /// The things, counted or listed.
    Things { names: Vec<String>, counted: bool },
}

/// What was found, with the cells it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) result: Result,
    /// Rows and columns of the table, in the order they are said.
    pub(super) cells: Vec<(usize, usize)>,
    /// Things that the question names.
    pub(super) named: usize,
    /// Whether all rows had to be looked at: then the table must be whole.
    pub(super) whole: bool,
}

/// Works it out; `None` where the question does not add up or the cells cannot be compared.
pub(super) fn work_out(asked: &Asked, view: &View<'_>) -> Option<Found> {
    let selected = select(asked, view)?;
    let has = |cue| asked.has(cue);
    let named = asked.things.len();
    let attribute = || one_attribute(asked, view);
    let most = asked.degree(|cue| match cue {
        Cue::Most(degree) => Some(*degree),
        _ => None,
    });
    let degree = asked.degree(|cue| match cue {
        Cue::Degree(degree) | Cue::Most(degree) => Some(*degree),
        _ => None,
    });
    let by = asked.degree(|cue| match cue {
        Cue::DegreeDifference(degree) => Some(*degree),
        _ => None,
    });
    let differs = has(Cue::Difference) || asked.cues.iter().any(|cue| matches!(cue, Cue::DegreeDifference(_)));
    let degrees = asked
        .cues
        .iter()
        .any(|cue| matches!(cue, Cue::Degree(_) | Cue::Most(_)));
    let conditioned = asked.limit.is_some() || has(Cue::Free);
    let work = Work { asked, view };
    if conditioned {
        // "免费" of one thing is a yes or no, which is not answered here.
        let asks = has(Cue::Which) || has(Cue::List) || has(Cue::Count);
        let plain = asks && !differs && !degrees && !selected.exact && (asked.limit.is_none() || !has(Cue::Free));
        return if plain {
            work.filter(attribute()?, &selected.things)
        } else {
            None
        };
    }
    if named > 1 && selected.exact && (differs || degrees) {
        if differs && by.is_none() && !has(Cue::Difference) {
            return None;
        }
        let attribute = attribute()?;
        let fits = |degree: Degree| work.fits(attribute, degree);
        let asked_of = by.or(degree);
        if (degrees && degree.is_none()) || asked_of.is_some_and(|degree| !fits(degree)) {
            return None;
        }
        let wanted = if differs { None } else { degree };
        return work.compare(attribute, &selected.things, wanted);
    }
    if differs {
        return None;
    }
    if degrees {
        // "哪张卡年费低" asks for the lowest as well.
        let degree = most.or_else(|| degree.filter(|_| has(Cue::Which)))?;
        let attribute = attribute()?;
        let plain = !selected.exact && work.fits(attribute, degree);
        return if plain {
            work.most(attribute, &selected.things, degree)
        } else {
            None
        };
    }
    if selected.exact && named > 0 {
        let attributes = if asked.attributes.is_empty() {
            vec![attribute()?]
        } else {
            asked.attributes.clone()
        };
        return if has(Cue::Count) {
            None
        } else {
            work.values(&attributes, &selected.things, false)
        };
    }
    if named > 0 {
        return None;
    }
    match asked.attributes.as_slice() {
        [] if has(Cue::Count) || (has(Cue::List) && !view.turned) => work.things(has(Cue::Count)),
        [only] if has(Cue::List) && !has(Cue::Count) => work.values(&[*only], &selected.things, true),
        _ => None,
    }
}

struct Selected {
    things: Vec<usize>,
    /// Whether the question names each of them.
    exact: bool,
}

/// The things that are meant: all where none is named.
fn select(asked: &Asked, view: &View<'_>) -> Option<Selected> {
    if asked.things.is_empty() {
        return Some(Selected {
            things: (0..view.things.len()).collect(),
            exact: false,
        });
    }
    let lists = view.keys.len();
    let of = |list: usize| {
        asked
            .things
            .iter()
            .filter(move |thing| thing.0 == list)
            .map(|thing| thing.1)
    };
    if (0..lists).filter(|list| of(*list).count() > 1).count() > 1 {
        // "甲1年和乙3年": which goes with which is not sure.
        return None;
    }
    let mut things = Vec::new();
    // In the question's order: the list with several names gives it.
    let leading = (0..lists).max_by_key(|list| of(*list).count())?;
    let mut exact = true;
    for place in of(leading) {
        let meant: Vec<usize> = (0..view.things.len())
            .filter(|thing| {
                let keys = &view.things[*thing];
                keys[leading] == place
                    && (0..lists).all(|list| {
                        list == leading || of(list).count() == 0 || of(list).any(|other| keys[list] == other)
                    })
            })
            .collect();
        match meant.as_slice() {
            [] => return None,
            [only] => things.push(*only),
            several => {
                exact = false;
                things.extend(several);
            }
        }
    }
    // A cell that names several things is one row: "金卡和标准卡" of one row is no comparison of two.
    let distinct: std::collections::HashSet<usize> = things.iter().copied().collect();
    (distinct.len() == things.len() && (exact || of(leading).count() == 1)).then_some(Selected { things, exact })
}

/// The attribute that is meant: the one named, or the only one that can be.
fn one_attribute(asked: &Asked, view: &View<'_>) -> Option<usize> {
    if let [only] = asked.attributes.as_slice() {
        return Some(*only);
    }
    if !asked.attributes.is_empty() {
        return None;
    }
    if let [_] = view.attributes.as_slice() {
        let fits = |of: Of| match of {
            Of::Any => true,
            Of::Money => view.is_money(0),
            Of::Time => is_time(view, 0),
        };
        return asked_of(asked).into_iter().all(fits).then_some(0);
    }
    let of = asked_of(asked);
    let general: &[&str] = match of.as_slice() {
        [Of::Money, ..] => &[
            "价格",
            "价钱",
            "售价",
            "单价",
            "价",
            "报价",
            "费用",
            "收费",
            "收费标准",
            "资费",
            "运费",
            "邮费",
            "快递费",
            "租金",
            "price",
            "cost",
            "fee",
            "charge",
            "rate",
            "shipping fee",
            "postage",
        ],
        [Of::Time, ..] => &[
            "时效",
            "时间",
            "到账时间",
            "送达时间",
            "到达时间",
            "配送时间",
            "运送时间",
            "处理时间",
            "delivery time",
            "transit time",
            "time",
        ],
        _ => return None,
    };
    let is = |at: &usize| match of[0] {
        Of::Money => view.is_money(*at),
        _ => is_time(view, *at),
    };
    let mut fitting = (0..view.attributes.len()).filter(is);
    let only = fitting.next().filter(|_| fitting.next().is_none())?;
    let name = super::fold::words(&view.attributes[only].name.shown);
    general
        .iter()
        .any(|general| super::fold::words(general).ends_with(&name) || name.ends_with(&super::fold::words(general)))
        .then_some(only)
}

fn is_time(view: &View<'_>, attribute: usize) -> bool {
    (0..view.things.len()).any(
        |thing| matches!(view.value(thing, attribute), Value::Amount(amount) if amount.unit.measure() == Measure::Time),
    )
}

/// What the question's words can be said of, as far as it is something certain.
fn asked_of(asked: &Asked) -> Vec<Of> {
    let of = |cue: &Cue| match cue {
        Cue::Money | Cue::Free => Some(Of::Money),
        Cue::Time => Some(Of::Time),
        Cue::Degree(degree) | Cue::DegreeDifference(degree) | Cue::Most(degree) if degree.of != Of::Any => {
            Some(degree.of)
        }
        _ => None,
    };
    let mut found: Vec<Of> = asked.cues.iter().filter_map(of).collect();
    found.extend(asked.limit.as_ref().and_then(|limit| {
        let unit = Unit {
            name: limit.unit.clone(),
            ..Unit::default()
        };
        match unit.measure() {
            Measure::Money => Some(Of::Money),
            Measure::Time => Some(Of::Time),
            _ => None,
        }
    }));
    found.dedup();
    found
}

/// The greatest and the least of some values.
struct Extremes {
    greatest: Vec<usize>,
    least: Vec<usize>,
}

struct Work<'a> {
    asked: &'a Asked,
    view: &'a View<'a>,
}

impl Work<'_> {
    /// A cell's number; what is free costs nothing, in whatever unit.
    fn number(&self, thing: usize, attribute: usize) -> Option<Number> {
        match self.view.value(thing, attribute) {
            Value::Amount(amount) => Some(Number {
                low: amount.low,
                high: amount.high,
                amount: Some(amount),
            }),
            Value::Free => Some(Number {
                low: Decimal::ZERO,
                high: Decimal::ZERO,
                amount: None,
            }),
            Value::Absent | Value::Words => None,
        }
    }

    /// All numbers, in one unit, and per what the question says.
    fn numbers(&self, attribute: usize, things: &[usize]) -> Option<Vec<Number>> {
        let numbers: Vec<Number> = things
            .iter()
            .map(|thing| self.number(*thing, attribute))
            .collect::<Option<_>>()?;
        let mut units = numbers
            .iter()
            .filter_map(|number| number.amount.as_ref())
            .map(|amount| &amount.unit);
        let first = units.next();
        let same = first.is_none_or(|first| units.all(|unit| unit.is_like(first)));
        let free = numbers.iter().any(|number| number.amount.is_none());
        let money = first.is_none_or(|unit| matches!(unit.measure(), Measure::Money | Measure::Share));
        (same && (!free || money) && self.period_fits(attribute, things)).then_some(numbers)
    }

    /// Whether the values are per what the question says.
    fn period_fits(&self, attribute: usize, things: &[usize]) -> bool {
        let Some(per) = self.asked.per else { return true };
        let name = super::fold::words(&self.view.attributes[attribute].name.shown);
        let words: &[&str] = match per {
            "year" => &["年", "yearly", "annual", "year"],
            "month" => &["月", "monthly", "month"],
            "day" => &["日", "天", "daily", "day"],
            other => &[other],
        };
        let named = name.iter().any(|word| words.contains(&word.as_str()));
        named
            || things.iter().all(|thing| match self.number(*thing, attribute) {
                Some(number) => number.amount.is_none_or(|amount| amount.unit.per == per),
                None => false,
            })
    }

    fn measure(numbers: &[Number]) -> Measure {
        let unit = numbers
            .iter()
            .find_map(|number| number.amount.as_ref())
            .map(|amount| amount.unit.measure());
        unit.unwrap_or(Measure::Money)
    }

    /// Whether a direction can be said of the attribute: what is dear is money, what is slow takes time.
    fn fits(&self, attribute: usize, degree: Degree) -> bool {
        match degree.of {
            Of::Any => true,
            Of::Money => self.view.is_money(attribute),
            Of::Time => is_time(self.view, attribute),
        }
    }

    /// As the question calls it, else by its whole name.
    fn said(&self, thing: usize, attribute: usize) -> Said {
        let keys = &self.view.things[thing];
        let by_name =
            |(list, place, shown): &(usize, usize, String)| (keys.get(*list) == Some(place)).then(|| shown.clone());
        let called: Vec<String> = self.asked.things.iter().filter_map(by_name).collect();
        let name = if called.len() == keys.len() {
            called.join(" ")
        } else {
            self.view.name(thing)
        };
        Said {
            thing,
            name,
            value: self.view.shown(thing, attribute),
        }
    }

    fn all_said(&self, attribute: usize, things: &[usize]) -> Vec<Said> {
        things.iter().map(|thing| self.said(*thing, attribute)).collect()
    }

    fn found(&self, result: Result, attribute: usize, things: &[usize], whole: bool) -> Found {
        Found {
            result,
            cells: things.iter().map(|thing| self.view.place(*thing, attribute)).collect(),
            named: self.asked.things.len(),
            whole,
        }
    }

    fn values(&self, attributes: &[usize], things: &[usize], whole: bool) -> Option<Found> {
        let fits = (1..=MAX_VALUES).contains(&(attributes.len() * things.len()));
        let mut lists = Vec::new();
        let mut cells = Vec::new();
        for attribute in attributes {
            let said = self.all_said(*attribute, things);
            let empty = |said: &Said| !said.value.chars().any(char::is_alphanumeric);
            if !fits || said.iter().any(empty) || !self.period_fits(*attribute, things) {
                return None;
            }
            cells.extend(things.iter().map(|thing| self.view.place(*thing, *attribute)));
            lists.push((*attribute, said));
        }
        Some(Found {
            result: Result::Values(lists),
            cells,
            named: self.asked.things.len(),
            whole,
        })
    }

    fn compare(&self, attribute: usize, things: &[usize], degree: Option<Degree>) -> Option<Found> {
        let numbers = self
            .numbers(attribute, things)
            .filter(|numbers| numbers.len() <= MAX_VALUES)?;
        let Extremes { greatest, least } = extremes(&numbers)?;
        let gap = gap(&numbers[greatest[0]], &numbers[least[0]]);
        if degree.is_none() && gap.is_none() {
            return None;
        }
        let same = greatest.len() == numbers.len();
        let result = Result::Compared {
            attribute,
            said: self.all_said(attribute, things),
            greatest: if same { Vec::new() } else { greatest },
            least: if same { Vec::new() } else { least },
            gap: gap.filter(|_| !same),
            degree,
            measure: Self::measure(&numbers),
        };
        Some(self.found(result, attribute, things, false))
    }

    fn most(&self, attribute: usize, things: &[usize], degree: Degree) -> Option<Found> {
        let numbers = self.numbers(attribute, things).filter(|numbers| numbers.len() > 1)?;
        let ends = if degree.more {
            greatest(&numbers, false)?
        } else {
            greatest(&numbers, true)?
        };
        // What all have is no answer to which.
        if ends.len() == numbers.len() || ends.len() > MAX_VALUES {
            return None;
        }
        let best: Vec<usize> = ends.iter().map(|at| things[*at]).collect();
        let result = Result::Most {
            attribute,
            said: self.all_said(attribute, &best),
            degree,
            measure: Self::measure(&numbers),
        };
        let others = things.iter().copied().filter(|thing| !best.contains(thing));
        let all = things.len() <= MAX_VALUES;
        let shown: Vec<usize> = best.iter().copied().chain(others.filter(|_| all)).collect();
        Some(self.found(result, attribute, &shown, true))
    }

    fn filter(&self, attribute: usize, things: &[usize]) -> Option<Found> {
        let numbers = self.numbers(attribute, things)?;
        let limit = &self.asked.limit;
        let unit = numbers
            .iter()
            .find_map(|number| number.amount.as_ref())
            .map(|amount| amount.unit.name.clone());
        let mut met = Vec::new();
        for (thing, number) in things.iter().zip(&numbers) {
            let meets = match limit {
                None => number.amount.is_none(),
                Some(limit) if !limit.unit.is_empty() && unit.as_ref().is_some_and(|unit| *unit != limit.unit) => {
                    return None;
                }
                Some(limit) => within(number, limit)?,
            };
            if meets {
                met.push(*thing);
            }
        }
        if met.len() > MAX_VALUES || (met.is_empty() && things.len() > MAX_VALUES) {
            return None;
        }
        let with_unit = |limit: &Limit| {
            let like = numbers
                .iter()
                .find_map(|number| number.amount.as_ref())
                .filter(|_| limit.unit.is_empty());
            like.map_or_else(|| limit.shown.clone(), |amount| amount.bare(limit.number))
        };
        let result = Result::Filtered {
            attribute,
            said: self.all_said(attribute, &met),
            counted: self.asked.has(Cue::Count),
            bound: limit.as_ref().map(with_unit).unwrap_or_default(),
            limit: limit.clone(),
        };
        let shown = if met.is_empty() { things } else { &met };
        Some(self.found(result, attribute, shown, true))
    }

    fn things(&self, counted: bool) -> Option<Found> {
        let [names] = self.view.keys.as_slice() else {
            return None;
        };
        let several = |name: &super::view::Name| name.shown.contains(['、', '/', '／']);
        // Words such as "种类" must say what is counted, or any table would do.
        if self.view.turned || names.len() > MAX_VALUES || names.iter().any(several) || self.asked.per.is_some() {
            return None;
        }
        Some(Found {
            result: Result::Things {
                names: names.iter().map(|name| name.shown.clone()).collect(),
                counted,
            },
            cells: (0..names.len()).map(|thing| (thing, 0)).collect(),
            named: 0,
            whole: true,
        })
    }
}

struct Number {
    low: Decimal,
    high: Decimal,
    /// `None` for what is free.
    amount: Option<Amount>,
}

fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    if (a.low, a.high) == (b.low, b.high) {
        Some(Ordering::Equal)
    } else if a.high < b.low {
        Some(Ordering::Less)
    } else if b.high < a.low {
        Some(Ordering::Greater)
    } else {
        None
    }
}

/// The places of the greatest, or of the least; `None` where ranges overlap.
fn greatest(numbers: &[Number], least: bool) -> Option<Vec<usize>> {
    let wanted = if least { Ordering::Less } else { Ordering::Greater };
    let is_best = |one: &Number| {
        numbers.iter().all(
            |other| matches!(compare(one, other), Some(ordering) if ordering == wanted || ordering == Ordering::Equal),
        )
    };
    let best: Vec<usize> = (0..numbers.len()).filter(|at| is_best(&numbers[*at])).collect();
    (!best.is_empty()).then_some(best)
}

fn extremes(numbers: &[Number]) -> Option<Extremes> {
    Some(Extremes {
        greatest: greatest(numbers, false)?,
        least: greatest(numbers, true)?,
    })
}

/// How far two exact numbers are apart; `None` for ranges.
fn gap(greater: &Number, lesser: &Number) -> Option<Gap> {
    let exact = |number: &Number| number.low == number.high;
    let like = greater
        .amount
        .as_ref()
        .or(lesser.amount.as_ref())
        .filter(|_| exact(greater) && exact(lesser))?;
    let gap = greater.low.distance(lesser.low);
    Some(Gap {
        shown: like.like(gap),
        sum: (greater.amount.is_some() && lesser.amount.is_some()).then_some([greater.low, lesser.low, gap]),
    })
}

/// Whether a number keeps a bound; `None` where a range lies across it.
fn within(number: &Number, limit: &Limit) -> Option<bool> {
    let meets = |value: Decimal| match limit.bound {
        Bound::Above => value > limit.number,
        Bound::Below => value < limit.number,
        Bound::AtLeast => value >= limit.number,
        Bound::AtMost => value <= limit.number,
    };
    let (low, high) = (meets(number.low), meets(number.high));
    (low == high).then_some(low)
}
