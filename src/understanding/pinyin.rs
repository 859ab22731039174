//! How Chinese characters sound: who types by sound mistypes characters, and what was meant sounds the same.

use std::collections::HashMap;
use std::sync::LazyLock;

const SYLLABLES: &str = include_str!("pinyin.txt");

/// Characters whose sound together makes one number: nine bits each.
pub const MAX_SOUNDED: usize = 7;
const BITS: u32 = 9;

/// For each character the numbers of its one or two readings, from 1; 0 for none.
static READINGS: LazyLock<HashMap<char, [u16; 2]>> = LazyLock::new(|| {
    let mut readings: HashMap<char, [u16; 2]> = HashMap::new();
    let lines = SYLLABLES.lines().filter(|line| !line.starts_with('#'));
    for (number, line) in lines.enumerate() {
        let characters = line.split_once(' ').map_or("", |(_, characters)| characters);
        for c in characters.chars() {
            let of = readings.entry(c).or_default();
            let place = usize::from(of[0] > 0);
            of[place] = number as u16 + 1;
        }
    }
    readings
});

/// The ways in which a word of 1 to [`MAX_SOUNDED`] Chinese characters may sound, tones apart, each as a number: equal for
/// words that sound the same. Nothing for a longer text, and for one with a character whose sound is not known (one that is
/// in neither GB 2312 nor a traditional form of it). The word must be simplified. At most 16, the first readings first.
#[must_use]
pub fn sounds(word: &str) -> Vec<u64> {
    let mut sounds = vec![0_u64];
    for (place, c) in word.chars().enumerate() {
        let Some([first, second]) = READINGS.get(&c).copied().filter(|_| place < MAX_SOUNDED) else {
            return Vec::new();
        };
        let longer = |reading: u16| move |sound: &u64| (*sound << BITS) | u64::from(reading);
        let mut next: Vec<u64> = sounds.iter().map(longer(first)).collect();
        if second > 0 && sounds.len() < 16 {
            next.extend(sounds.iter().map(longer(second)));
        }
        sounds = next;
    }
    if word.is_empty() { Vec::new() } else { sounds }
}

#[cfg(test)]
mod tests {
    use super::sounds;

    fn alike(a: &str, b: &str) -> bool {
        let b = sounds(b);
        sounds(a).iter().any(|sound| b.contains(sound))
    }

    #[test]
    fn words_that_sound_the_same() {
        for (typed, meant) in [
            ("信用咔", "信用卡"),
            ("支付保", "支付宝"),
            ("银航", "银行"),
            ("帐单", "账单"),
            ("登陆", "登录"),
            ("还宽", "还款"),
        ] {
            assert!(alike(typed, meant), "{typed} {meant}");
        }
        assert!(!alike("年费", "年份") && !alike("信用", "信用卡"));
    }

    #[test]
    fn what_has_no_sound_has_none() {
        for word in ["", "A卡", "信用卡信用卡信用", "，"] {
            assert!(sounds(word).is_empty(), "{word}");
        }
        assert!(sounds("行长行长行长行").len() <= 16);
    }
}
