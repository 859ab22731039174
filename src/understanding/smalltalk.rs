//! Greetings, thanks, farewells, and the wish to speak to a person: recognised by whole-message rules, because a
//! wrong match here would swallow a question.

use super::normalise::letters;
use super::script::simplify;
use crate::domain::Language;

/// What is said beside the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smalltalk {
    /// A greeting.
    Greeting,
    /// Thanks or approval.
    Thanks,
    /// A farewell.
    Farewell,
    /// The question who or what answers here.
    Identity,
    /// That something was heard, and no more.
    Acknowledgement,
}

/// What is longer says something.
const MOST_BYTES: usize = 90;

impl Smalltalk {
    /// The reply.
    #[must_use]
    pub fn reply(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Greeting, Language::Zh) => "您好，我是智能客服，由 AI 提供服务。请问有什么可以帮您？",
            (Self::Greeting, Language::En) => "Hello, I am the AI customer service assistant. How can I help you?",
            (Self::Thanks, Language::Zh) => "不客气。还有其他问题可以继续问我。",
            (Self::Thanks, Language::En) => "You are welcome. Is there anything else I can help with?",
            (Self::Farewell, Language::Zh) => "感谢您的咨询，再见。",
            (Self::Farewell, Language::En) => "Thank you for contacting us. Goodbye.",
            (Self::Identity, Language::Zh) => {
                "我是智能客服，由 AI 提供服务，根据已核准的资料回答问题。需要人工服务时，请输入“转人工”。"
            }
            (Self::Identity, Language::En) => {
                "I am an AI assistant and answer from approved documents. Type \"agent\" to ask for a person."
            }
            (Self::Acknowledgement, Language::Zh) => "好的。还有其他问题可以继续问我。",
            (Self::Acknowledgement, Language::En) => "All right. Is there anything else I can help with?",
        }
    }
}

/// What smalltalk is made of, the telling kinds first.
const PIECES: [(Smalltalk, &[&str]); 5] = [
    (
        Smalltalk::Identity,
        &[
            "你是谁",
            "你是机器人",
            "你是人还是机器人",
            "你是真人",
            "你是ai",
            "whoareyou",
            "areyouarobot",
            "areyouabot",
            "areyouhuman",
            "areyouanai",
        ],
    ),
    (
        Smalltalk::Farewell,
        &[
            "再见",
            "拜拜",
            "bye",
            "byebye",
            "goodbye",
            "没有问题",
            "没别的问题",
            "没有别的问题",
            "没有其他问题",
            "没其他问题",
            "没别的事",
            "没事",
            "thatsall",
            "thatisall",
            "noquestions",
            "nomorequestions",
        ],
    ),
    (
        Smalltalk::Thanks,
        &[
            "谢谢",
            "谢谢你",
            "谢谢您",
            "谢",
            "多谢",
            "感谢",
            "非常感谢",
            "辛苦",
            "辛苦您",
            "辛苦你",
            "麻烦你",
            "麻烦您",
            "你真棒",
            "真棒",
            "太棒",
            "你真好",
            "你真厉害",
            "真厉害",
            "太好",
            "真不错",
            "thanks",
            "thankyou",
            "thx",
            "somuch",
            "verymuch",
            "alot",
            "great",
            "perfect",
            "awesome",
            "welldone",
            "goodjob",
        ],
    ),
    (
        Smalltalk::Greeting,
        &[
            "你好",
            "您好",
            "哈喽",
            "嗨",
            "hi",
            "hello",
            "hey",
            "there",
            "在",
            "在不在",
            "有人",
            "早上好",
            "上午好",
            "中午好",
            "下午好",
            "晚上好",
            "goodmorning",
            "goodafternoon",
            "goodevening",
        ],
    ),
    (
        Smalltalk::Acknowledgement,
        &[
            "好",
            "嗯",
            "恩",
            "哦",
            "噢",
            "明白",
            "知道",
            "了解",
            "收到",
            "清楚",
            "懂",
            "ok",
            "okay",
            "gotit",
            "isee",
            "我知道",
            "我明白",
            "我懂",
            "我清楚",
            "我了解",
            "iknow",
        ],
    ),
];

/// What may stand after any of them.
const PARTICLES: [&str; 12] = [
    "啊", "呀", "哈", "哦", "吗", "呢", "了", "啦", "的", "哟", "喔", "please",
];

/// The smalltalk that `text` is, if it is nothing else: a row of such phrases from beginning to end, of which the most telling counts
/// ("好的，知道了，谢谢").
#[must_use]
pub fn smalltalk(text: &str) -> Option<Smalltalk> {
    let key = letters(&simplify(text));
    if key.is_empty() || key.len() > MOST_BYTES {
        return None;
    }
    // The most telling kind, by its place among the pieces, of each beginning of the text that is made of pieces.
    let mut made: Vec<Option<usize>> = vec![None; key.len() + 1];
    for at in 0..key.len() {
        let before = if at == 0 { Some(PIECES.len()) } else { made[at] };
        let Some(before) = before else { continue };
        let mut reach = |piece: &str, kind: usize| {
            if key[at..].starts_with(piece) {
                let kind = kind.min(before);
                let known = &mut made[at + piece.len()];
                *known = Some(known.map_or(kind, |known| known.min(kind)));
            }
        };
        for (kind, (_, pieces)) in PIECES.iter().enumerate() {
            for piece in *pieces {
                reach(piece, kind);
            }
        }
        if at > 0 {
            for particle in PARTICLES {
                reach(particle, PIECES.len());
            }
        }
    }
    let kind = made[key.len()]?;
    PIECES.get(kind).map(|(kind, _)| *kind)
}

/// Whether the customer asks for a person. This wish is always honoured.
#[must_use]
pub fn wants_person(text: &str) -> bool {
    const ZH: [&str; 23] = [
        "找个人工",
        "找个真人",
        "活人",
        "找客服",
        "叫你们经理",
        "找你们经理",
        "叫经理",
        "找经理",
        "叫你们领导",
        "找你们领导",
        "客服联系我",
        "转人工",
        "人工客服",
        "人工服务",
        "找人工",
        "要人工",
        "接人工",
        "真人客服",
        "转客服",
        "换人工",
        "叫人工",
        "找真人",
        "跟人说",
    ];
    const EN: [&str; 10] = [
        "talktoahuman",
        "speaktoahuman",
        "talktoaperson",
        "speaktoaperson",
        "humanagent",
        "liveagent",
        "realperson",
        "talktoanagent",
        "speaktoanagent",
        "speaktosomeone",
    ];
    const CALL_ME: [&str; 5] = ["客服给我打", "客服给我回", "人工给我打", "人工给我回", "经理给我打"];
    const NOT: [&str; 8] = [
        "不用转人工",
        "不要转人工",
        "别转人工",
        "不需要人工",
        "不用人工",
        "不要人工",
        "donttransfer",
        "noagent",
    ];
    let key = letters(&simplify(text));
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| key.contains(phrase));
    if has(&NOT) {
        return false;
    }
    let short = key
        .trim_end_matches("please")
        .trim_end_matches(['呢', '吧', '啊', '呀', '了']);
    // "人工服务几点下班" asks about the service: a longer question with an asking word stays a question.
    let asks = [
        "几点",
        "时间",
        "电话",
        "号码",
        "哪个",
        "多少",
        "怎么收费",
        "when",
        "hours",
        "number",
    ]
    .iter()
    .any(|word| key.contains(word));
    matches!(
        short,
        "人工" | "真人" | "agent" | "human" | "operator" | "representative"
    ) || has(&CALL_ME)
        || (!asks && ZH.iter().chain(&EN).any(|phrase| key.contains(phrase)))
}

#[cfg(test)]
mod tests {
    use super::{Smalltalk, smalltalk, wants_person};

    #[test]
    fn only_whole_messages_are_smalltalk() {
        assert_eq!(smalltalk("您好！"), Some(Smalltalk::Greeting));
        assert_eq!(smalltalk("谢谢啊"), Some(Smalltalk::Thanks));
        assert_eq!(smalltalk("謝謝"), Some(Smalltalk::Thanks));
        assert_eq!(smalltalk("好的谢谢再见"), Some(Smalltalk::Farewell));
        assert_eq!(smalltalk("你好，信用卡丢了"), None);
        assert_eq!(smalltalk("Hello"), Some(Smalltalk::Greeting));
        assert_eq!(smalltalk("好的，知道了，谢谢你啊"), Some(Smalltalk::Thanks));
        assert_eq!(smalltalk("Thank you so much, bye!"), Some(Smalltalk::Farewell));
        assert_eq!(smalltalk("你真棒"), Some(Smalltalk::Thanks));
        assert_eq!(smalltalk("嗯嗯"), Some(Smalltalk::Acknowledgement));
        assert_eq!(smalltalk("hi there"), Some(Smalltalk::Greeting));
        for question in [
            "好的卡在哪办",
            "在哪",
            "没有收到",
            "谢谢，那年费呢",
            "我",
            "好评怎么写",
            "知道怎么退款吗",
        ] {
            assert_eq!(smalltalk(question), None, "{question}");
        }
    }

    #[test]
    fn the_wish_for_a_person_is_heard() {
        for text in [
            "转人工",
            "我要人工客服！！",
            "请转人工谢谢",
            "I want to talk to a human",
            "agent",
            "agent please",
            "人工呢",
            "轉人工",
            "能不能给我找个活人",
            "叫你们经理来",
            "让客服给我打电话",
        ] {
            assert!(wants_person(text), "{text}");
        }
        for text in [
            "人工服务几点下班",
            "人工智能存款",
            "信用卡年费",
            "不用转人工，退款多久到账",
        ] {
            assert!(!wants_person(text), "{text}");
        }
    }
}
