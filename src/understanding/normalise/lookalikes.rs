//! Characters that look like others, for reading alone: what is stored keeps its spelling.

/// The Latin letter or digit that a letter of another script looks like, or that a decorated form stands for.
///
/// Only forms that compatibility decomposition leaves alone. Source: Unicode Technical Standard 39, confusables, as far
/// as Cyrillic, Greek and the dingbats are used to write numbers and names past a filter.
pub(super) fn latin(c: char) -> Option<char> {
    Some(match c {
        'а' | 'α' => 'a',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'с' | 'ϲ' => 'c',
        'С' | 'Ϲ' => 'C',
        'ԁ' => 'd',
        'е' | 'ε' => 'e',
        'Е' | 'Ε' => 'E',
        'һ' => 'h',
        'Н' | 'Η' => 'H',
        'і' | 'ι' => 'i',
        'І' | 'Ι' => 'I',
        'ј' => 'j',
        'Ј' => 'J',
        'к' | 'κ' => 'k',
        'К' | 'Κ' => 'K',
        'ӏ' => 'l',
        'М' | 'Μ' => 'M',
        'Ν' => 'N',
        'о' | 'ο' | 'σ' => 'o',
        'О' | 'Ο' => 'O',
        'р' | 'ρ' => 'p',
        'Р' | 'Ρ' => 'P',
        'ԛ' => 'q',
        'ѕ' => 's',
        'Ѕ' => 'S',
        'т' | 'τ' => 't',
        'Т' | 'Τ' => 'T',
        'ν' | 'ѵ' => 'v',
        'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'Х' | 'Χ' | '×' | '✕' | '✖' => 'X',
        'у' | 'γ' => 'y',
        'У' | 'Υ' => 'Y',
        'Ζ' => 'Z',
        'З' | 'з' | 'Ӡ' => '3',
        'б' => '6',
        'Ч' => '4',
        // Dingbats: negative circled and sans-serif circled digits.
        '\u{2776}'..='\u{277e}' => from_offset(c, '\u{2776}', '1'),
        '\u{2780}'..='\u{2788}' => from_offset(c, '\u{2780}', '1'),
        '\u{278a}'..='\u{2792}' => from_offset(c, '\u{278a}', '1'),
        '\u{24f5}'..='\u{24fd}' => from_offset(c, '\u{24f5}', '1'),
        '\u{24ff}' | '\u{1f10b}' | '\u{1f10c}' => '0',
        // Squared, circled and regional letters.
        '\u{1f150}'..='\u{1f169}' => from_offset(c, '\u{1f150}', 'A'),
        '\u{1f170}'..='\u{1f189}' => from_offset(c, '\u{1f170}', 'A'),
        '\u{1f1e6}'..='\u{1f1ff}' => from_offset(c, '\u{1f1e6}', 'A'),
        _ => return decimal(c),
    })
}

/// The ASCII digit of another script's decimal digit (general category Nd).
fn decimal(c: char) -> Option<char> {
    const ZEROES: [char; 14] = [
        '\u{0660}', '\u{06f0}', '\u{07c0}', '\u{0966}', '\u{09e6}', '\u{0a66}', '\u{0ae6}', '\u{0b66}', '\u{0be6}',
        '\u{0c66}', '\u{0e50}', '\u{0f20}', '\u{1040}', '\u{17e0}',
    ];
    let zero = ZEROES
        .into_iter()
        .find(|zero| (*zero..=from_offset('9', '0', *zero)).contains(&c))?;
    Some(from_offset(c, zero, '0'))
}

/// The character as far from `to` as `c` is from `from`.
fn from_offset(c: char, from: char, to: char) -> char {
    char::from_u32(u32::from(to) + (u32::from(c) - u32::from(from))).unwrap_or(c)
}

/// Characters without width that split words for a matcher and not for a reader (Unicode general category Cf, as far
/// as they occur in running text, the tag block that hides text, and what turns a digit into a keycap).
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}'
        | '\u{20e3}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e01ef}')
}

/// Whether `c` is a pictograph: it says something about the mood and nothing about the matter.
#[must_use]
pub fn is_emoji(c: char) -> bool {
    matches!(c,
        '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{297f}'
        | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1f0ff}' | '\u{1f18a}'..='\u{1f1e5}' | '\u{1f200}'..='\u{1faff}')
}
