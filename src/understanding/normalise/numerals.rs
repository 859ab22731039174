//! Numbers in Chinese characters: digit by digit (幺三八) and by value (一百二十, 壹佰贰拾, 三万五).

/// The value of a character read as one digit: the everyday forms, those of cheques, and 幺 as it is said on the telephone.
#[must_use]
pub fn digit(c: char) -> Option<u8> {
    Some(match c {
        '0'..='9' => (c as u8) - b'0',
        '零' | '〇' | '○' | '洞' => 0,
        '一' | '壹' | '幺' | '弌' | '妖' => 1,
        '二' | '贰' | '貳' | '弍' | '两' | '兩' => 2,
        '三' | '叁' | '參' | '叄' | '仨' => 3,
        '四' | '肆' => 4,
        '五' | '伍' => 5,
        '六' | '陆' | '陸' => 6,
        '七' | '柒' | '拐' => 7,
        '八' | '捌' => 8,
        '九' | '玖' | '勾' => 9,
        _ => return None,
    })
}

/// Whether a character is a digit only beside other digits: alone it is an ordinary word.
pub(crate) fn is_doubtful_digit(c: char) -> bool {
    matches!(
        c,
        '洞' | '拐' | '勾' | '妖' | '两' | '兩' | '仨' | '○' | '陆' | '陸' | '伍' | '叄' | '參'
    )
}

/// The value of a unit within a group of four digits.
fn small_unit(c: char) -> Option<u64> {
    Some(match c {
        '十' | '拾' => 10,
        '百' | '佰' => 100,
        '千' | '仟' => 1000,
        _ => return None,
    })
}

/// The value of a unit that closes a group.
fn large_unit(c: char) -> Option<u64> {
    Some(match c {
        '万' | '萬' | 'w' | 'W' => 10_000,
        '亿' | '億' => 100_000_000,
        _ => return None,
    })
}

/// A number at the beginning of `text`: its value and how many characters it has. Handles 一百二十, 壹佰贰拾, 三万五
/// (35,000), 一百零五, 十五, 3万5, 2,000, 二〇二四 and plain digits; `None` where no number begins or it is too large.
#[must_use]
pub fn number(text: &[char]) -> Option<(u64, usize)> {
    if text.first().is_some_and(char::is_ascii_digit) {
        return ascii(text);
    }
    if text.get(1).copied().and_then(digit).is_some()
        && text.first().copied().and_then(digit).is_some()
        && text.first() != Some(&'零')
    {
        return digit_by_digit(text);
    }
    by_value(text)
}

/// 二〇二四, 一二三.
fn digit_by_digit(text: &[char]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    let mut length = 0;
    for digit in text.iter().map_while(|c| digit(*c)) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        length += 1;
    }
    // 二三十 is twenty or thirty: no one number.
    let unit = text.get(length).copied();
    (unit.and_then(small_unit).is_none()).then_some((value, length))
}

/// 2,000, 35, 3万5.
fn ascii(text: &[char]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    let mut length = 0;
    while let Some(&c) = text.get(length) {
        let grouped = c == ','
            && (1..=3).all(|step| text.get(length + step).is_some_and(char::is_ascii_digit))
            && !text.get(length + 4).is_some_and(char::is_ascii_digit);
        if grouped {
            length += 1;
            continue;
        }
        let Some(digit) = c.to_digit(10) else { break };
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        length += 1;
    }
    let Some(unit) = text
        .get(length)
        .copied()
        .and_then(|c| large_unit(c).or_else(|| small_unit(c)))
    else {
        return Some((value, length));
    };
    value = value.checked_mul(unit)?;
    length += 1;
    // 3万5: half a unit more than the unit, as people say it.
    if let Some(&next) = text.get(length)
        && let Some(digit) = digit(next)
        && !text.get(length + 1).is_some_and(|c| digit_or_unit(*c))
    {
        value = value.checked_add(u64::from(digit) * unit / 10)?;
        length += 1;
    }
    Some((value, length))
}

fn digit_or_unit(c: char) -> bool {
    digit(c).is_some() || small_unit(c).is_some() || large_unit(c).is_some()
}

fn by_value(text: &[char]) -> Option<(u64, usize)> {
    let (mut total, mut group, mut pending) = (0_u64, 0_u64, None::<u64>);
    // The unit before, for a digit left alone at the end: 三万五 is 35,000, 一百零五 is 105.
    let mut last_unit = 1_u64;
    let mut last_large = u64::MAX;
    let mut after_zero = false;
    let mut length = 0;
    for &c in text {
        if let Some(value) = digit(c) {
            if pending.is_some() && value != 0 {
                break;
            }
            after_zero |= value == 0;
            pending = (value != 0).then_some(u64::from(value)).or(pending);
        } else if let Some(unit) = small_unit(c) {
            // 十五 begins with its unit.
            group = group.checked_add(pending.take().unwrap_or(u64::from(length == 0)).checked_mul(unit)?)?;
            (last_unit, after_zero) = (unit, false);
        } else if let Some(unit) = large_unit(c).filter(|_| !c.is_ascii()) {
            let sum = group.checked_add(pending.take().unwrap_or(0))?;
            if sum == 0 && total == 0 {
                return None;
            }
            // 一亿两千万 adds, 三万五千亿 and 万亿 multiply what stands before.
            total = if unit > last_large || sum == 0 {
                total.checked_add(sum)?.checked_mul(unit)?
            } else {
                total.checked_add(sum.checked_mul(unit)?)?
            };
            (group, last_large) = (0, unit);
            (last_unit, after_zero) = (unit, false);
        } else {
            break;
        }
        length += 1;
    }
    let rest = match pending {
        Some(value) if !after_zero && last_unit > 10 => value * last_unit / 10,
        Some(value) => value,
        None => 0,
    };
    (length > 0).then_some((total.checked_add(group)?.checked_add(rest)?, length))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read_as_they_are_said() {
        for (text, value) in [
            ("一百二十", 120),
            ("壹佰贰拾", 120),
            ("三万五", 35_000),
            ("三万零五", 30_005),
            ("一百零五", 105),
            ("一百五", 150),
            ("十五", 15),
            ("二十", 20),
            ("五", 5),
            ("零", 0),
            ("一千零二十", 1020),
            ("两千三", 2300),
            ("一亿两千万", 120_000_000),
            ("三万五千亿", 3_500_000_000_000),
            ("两万亿", 2_000_000_000_000),
            ("叁仟肆佰伍拾陆", 3456),
            ("二〇二四", 2024),
            ("幺三八", 138),
            ("3万5", 35_000),
            ("2,000", 2000),
            ("3w", 30_000),
            ("1234567", 1_234_567),
        ] {
            let chars: Vec<char> = text.chars().collect();
            assert_eq!(number(&chars), Some((value, chars.len())), "{text}");
        }
        assert_eq!(number(&['元']), None);
        assert_eq!(number(&[]), None);
        let endless: Vec<char> = "9".repeat(100).chars().collect();
        assert_eq!(number(&endless), None);
        let endless: Vec<char> = "九亿亿亿".chars().collect();
        assert_eq!(number(&endless), None);
    }
}
