//! Words as they are compared: one spelling for full-width and half-width, upper and lower case, simplified and traditional
//! characters, singular and plural, digits and Chinese numerals.

use super::decimal::Decimal;
use crate::domain::is_han;
use crate::understanding::normalise;

/// One word: a Han character, a Latin word, a number or a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// In its one spelling; a number in canonical decimal notation.
    pub(super) word: String,
    pub(super) kind: Kind,
    /// First byte in the normalised text.
    pub(super) start: usize,
    /// One past its last byte there.
    pub(super) end: usize,
    /// Whether the number was written with 万 or 亿: what is computed from it is shown so again.
    pub(super) scaled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Han,
    Latin,
    Number,
    Symbol,
}

/// The tokens of `text` after [`normalise`], which is given too: the tokens point into it.
pub(super) fn tokens(text: &str) -> (String, Vec<Token>) {
    let text = normalise(text);
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let place = |at: usize| chars.get(at).map_or(text.len(), |(byte, _)| *byte);
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at].1;
        let (word, kind, end, scaled) = if let Some((value, end, scaled)) = number_at(&chars, at) {
            (value, Kind::Number, end, scaled)
        } else if is_han(c) {
            (simplified(c).to_string(), Kind::Han, at + 1, false)
        } else if c.is_alphanumeric() {
            let end = (at..chars.len())
                .find(|place| {
                    let c = chars[*place].1;
                    let apostrophe = c == '\'' && chars.get(place + 1).is_some_and(|(_, next)| next.is_alphanumeric());
                    !(c.is_alphanumeric() || apostrophe) || is_han(c)
                })
                .unwrap_or(chars.len());
            let word: String = chars[at..end].iter().flat_map(|(_, c)| c.to_lowercase()).collect();
            (stem(&word), Kind::Latin, end, false)
        } else if c.is_whitespace() {
            at += 1;
            continue;
        } else {
            (c.to_string(), Kind::Symbol, at + 1, false)
        };
        found.push(Token {
            word,
            kind,
            start: place(at),
            end: place(end),
            scaled,
        });
        at = end;
    }
    (text, found)
}

/// The words of a name or a question: tokens without the symbols, except those that mean something.
pub(super) fn words(text: &str) -> Vec<String> {
    let (_, tokens) = tokens(text);
    tokens
        .into_iter()
        .filter(Token::is_word)
        .map(|token| token.word)
        .collect()
}

impl Token {
    /// Whether it is more than punctuation.
    pub(super) fn is_word(&self) -> bool {
        self.kind != Kind::Symbol
            || matches!(
                self.word.as_str(),
                "%" | "+" | "<" | ">" | "≤" | "≥" | "$" | "¥" | "€" | "£"
            )
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.word == word
    }

    /// The number it is.
    pub(super) fn number(&self) -> Option<Decimal> {
        (self.kind == Kind::Number)
            .then(|| Decimal::parse(&self.word))
            .flatten()
    }
}

/// The number that begins at `at` in canonical notation, the place after it, and whether it has 万 or 亿.
fn number_at(chars: &[(usize, char)], at: usize) -> Option<(String, usize, bool)> {
    let c = |place: usize| chars.get(place).map(|(_, c)| *c);
    let first = c(at)?;
    let (text, mut end) = if first.is_ascii_digit() {
        digits_at(chars, at)
    } else {
        chinese_at(chars, at)?
    };
    let mut zeros = 0;
    while let Some(power) = c(end).and_then(|c| match c {
        '百' if zeros > 0 || first.is_ascii_digit() => Some(2),
        '千' if zeros > 0 || first.is_ascii_digit() => Some(3),
        '万' | '萬' => Some(4),
        '亿' | '億' => Some(8),
        _ => None,
    }) {
        zeros += power;
        end += 1;
    }
    // 千克 and 千瓦 are units, 百分 begins a percentage.
    if zeros > 0 && matches!(c(end), Some('克' | '瓦' | '米' | '分')) && matches!(c(end - 1), Some('千' | '百')) {
        zeros -= if c(end - 1) == Some('千') { 3 } else { 2 };
        end -= 1;
    }
    // A part of a word such as "A4" or "4K" is no number; "10kg" is one with its unit.
    Some((Decimal::canonical(&text, zeros), end, zeros >= 4))
}

fn digits_at(chars: &[(usize, char)], at: usize) -> (String, usize) {
    let c = |place: usize| chars.get(place).map(|(_, c)| *c);
    let digit = |place: usize| c(place).is_some_and(|c| c.is_ascii_digit());
    let (mut text, mut end, mut point) = (String::new(), at, false);
    while let Some(next) = c(end) {
        if next.is_ascii_digit() {
            text.push(next);
        } else if next == '.' && !point && digit(end + 1) {
            point = true;
            text.push('.');
        } else if next == ',' && !point && (1..4).all(|n| digit(end + n)) && !digit(end + 4) {
            // A separator of thousands carries no value.
        } else {
            break;
        }
        end += 1;
    }
    (text, end)
}

fn chinese_at(chars: &[(usize, char)], at: usize) -> Option<(String, usize)> {
    let (mut total, mut digit, mut end) = (0_u32, None, at);
    while let Some((_, c)) = chars.get(end) {
        if let Some(value) = "零一二三四五六七八九".chars().position(|d| d == *c).or(match c {
            '〇' => Some(0),
            '两' | '兩' => Some(2),
            _ => None,
        }) {
            if digit.is_some_and(|digit| digit > 0) {
                return None;
            }
            digit = u32::try_from(value).ok();
        } else {
            let power = match c {
                '十' => 10,
                '百' if digit.is_some() => 100,
                '千' if digit.is_some() => 1000,
                _ => break,
            };
            total += digit.unwrap_or(1) * power;
            digit = None;
        }
        end += 1;
        if end - at > 8 {
            return None;
        }
    }
    (end > at).then(|| ((total + digit.unwrap_or(0)).to_string(), end))
}

/// The singular of an English word, and without a possessive.
fn stem(word: &str) -> String {
    let word = word.strip_suffix("'s").unwrap_or(word);
    let long = word.len() > 3 && word.bytes().all(|b| b.is_ascii_alphabetic());
    if !long {
        return word.to_owned();
    }
    if let Some(base) = word.strip_suffix("ies") {
        return format!("{base}y");
    }
    for ending in ["sses", "xes", "ches", "shes"] {
        if word.ends_with(ending) {
            return word[..word.len() - 2].to_owned();
        }
    }
    match word.strip_suffix('s') {
        Some(base) if !base.ends_with(['s', 'u', 'i']) => base.to_owned(),
        _ => word.to_owned(),
    }
}

/// Traditional characters with their simplified forms, in turns: those that price lists, tariffs and questions about
/// them are written with. What is not here is compared as it is written.
const PAIRS: &str = "費费專专業业東东絲丝兩两嚴严個个豐丰臨临為为麗丽舉举義义樂乐習习鄉乡書书買买亂乱爭争於于雲云亞亚產产\
    親亲億亿僅仅從从倉仓儀仪們们價价眾众優优會会傘伞偉伟傳传傷伤倫伦偽伪體体餘余傭佣債债傾倾償偿儲储兒儿黨党蘭兰關关興兴養养獸兽\
    內内岡冈冊册寫写軍军農农馮冯決决況况凍冻淨净涼凉減减幾几鳳凤憑凭凱凯擊击劃划劉刘則则剛刚創创刪删別别劍剑劑剂動动務务勞劳\
    勢势勵励區区醫医華华協协單单賣卖盧卢衛卫卻却廠厂廳厅歷历厲厉壓压廁厕縣县參参雙双發发變变疊叠號号嘆叹後后嗎吗員员聽听啟启\
    呂吕週周響响喚唤問问團团園园圍围圖图圓圆國国場场壞坏塊块堅坚壇坛墳坟墊垫聲声處处備备復复複复夠够頭头夾夹奪夺奮奋獎奖婦妇媽妈\
    嬰婴孫孙學学寧宁寶宝實实審审寬宽賓宾對对尋寻導导壽寿將将爾尔塵尘嘗尝屆届屬属層层歲岁島岛幣币師师帳帐帶带幫帮乾干廣广莊庄\
    慶庆庫库應应廟庙廢废開开異异張张彈弹強强歸归當当錄录徹彻徵征憶忆態态總总懇恳惡恶戀恋愛爱慣惯戶户擇择擔担擴扩揀拣據据\
    掛挂採采損损換换揮挥搖摇攜携攝摄敗败數数敵敌斷断無无舊旧時时曠旷晝昼顯显晉晋暫暂術术機机殺杀雜杂權权條条來来楊杨極极構构\
    槍枪標标棧栈樹树樓楼橋桥檔档檢检欄栏櫃柜樣样橫横歡欢歐欧殘残畢毕氣气漢汉湯汤溝沟沒没滄沧溫温潔洁測测濟济濃浓濕湿滿满\
    漲涨漿浆澤泽濱滨燈灯靈灵災灾爐炉點点煉炼煩烦燒烧熱热爺爷牽牵犧牺狀状獨独環环現现電电畫画暢畅療疗瘋疯監监盤盘盜盗\
    礦矿碼码磚砖確确禮礼禍祸禪禅離离種种稱称積积穩稳窮穷竊窃競竞筆笔節节範范築筑簡简籌筹簽签籃篮類类糧粮緊紧紅红約约級级\
    紀纪純纯網网紙纸紛纷細细終终組组經经結结給给絕绝統统繼继續续維维綜综綠绿線线練练縮缩縱纵織织績绩繳缴纜缆罰罚罷罢\
    羅罗翹翘聯联職职聰聪腦脑腳脚脫脱臉脸臺台艙舱艦舰藝艺藥药蘇苏蘋苹虧亏蟲虫補补襯衬裝装裡里褲裤見见觀观規规視视覽览覺觉觸触\
    訂订計计訊讯討讨訓训記记許许訪访設设評评詐诈詢询試试詩诗話话該该詳详語语誤误說说請请諮咨諾诺課课誰谁調调談谈論论證证識识\
    譯译議议護护讀读讓让變变豬猪貝贝負负財财責责貨货質质販贩貴贵貸贷費费貼贴貿贸賀贺資资賊贼賬账賠赔賴赖賺赚購购贈赠贏赢\
    趙赵趕赶躍跃車车軌轨軟软轉转輕轻載载較较輔辅輛辆輪轮輸输轄辖辦办遊游運运過过達达違违遙遥遞递遠远適适遲迟遷迁選选遺遗還还邊边\
    郵邮鄭郑醬酱釀酿針针鈔钞鋼钢錢钱銀银銅铜鋁铝鐵铁鎖锁鏈链鏡镜鐘钟鑽钻鑰钥長长門门閃闪閉闭間间閱阅闊阔隊队陽阳陰阴階阶際际陸陆\
    陳陈險险隨随隱隐難难霧雾靜静頁页頂顶項项順顺須须預预領领頻频題题額额顏颜願愿顧顾顯显風风飛飞飯饭飲饮餐餐館馆驗验驅驱駕驾\
    騎骑騰腾驚惊髒脏髮发鬆松鬥斗魚鱼鮮鲜鳥鸟雞鸡鹽盐麥麦麵面黃黄齊齐齡龄龍龙龜龟妳你臺台裏里麽么麼么";

fn simplified(c: char) -> char {
    static MAP: std::sync::LazyLock<std::collections::HashMap<char, char>> = std::sync::LazyLock::new(|| {
        let chars: Vec<char> = PAIRS.chars().collect();
        chars.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    });
    MAP.get(&c).copied().unwrap_or(c)
}

/// Whether `text` has characters that only traditional writing has.
pub(super) fn is_traditional(text: &str) -> bool {
    text.chars().any(|c| simplified(c) != c)
}

#[cfg(test)]
mod tests {
    use super::{PAIRS, is_traditional, words};

    #[test]
    fn one_spelling_for_what_is_the_same() {
        assert_eq!(words("白金卡年費"), words("白金卡年费"));
        assert_eq!(words("十二期、１２期"), ["12", "期", "12", "期"]);
        assert_eq!(words("五万元"), ["50000", "元"]);
        assert_eq!(words("1,000元"), ["1000", "元"]);
        assert_eq!(words("两百五十"), ["250"]);
        assert_eq!(words("5千克"), ["5", "千", "克"]);
        assert_eq!(
            words("Annual Fees of the bank's boxes"),
            ["annual", "fee", "of", "the", "bank", "box"]
        );
        assert_eq!(words("1.5%"), ["1.5", "%"]);
        assert!(is_traditional("費用") && !is_traditional("费用"));
    }

    #[test]
    fn every_traditional_character_has_another_form() {
        assert_eq!(PAIRS.chars().count() % 2, 0);
        let chars: Vec<char> = PAIRS.chars().collect();
        for pair in chars.chunks_exact(2) {
            assert!(
                crate::domain::is_han(pair[0]) && crate::domain::is_han(pair[1]),
                "{pair:?}"
            );
        }
    }
}
