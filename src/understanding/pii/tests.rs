//! What is found and what is not, in sentences written for these tests; numbers are made up, with valid check digits.

use super::*;

fn kinds(text: &str) -> Vec<(Kind, String)> {
    let found = Masker::default().mask(text).found;
    found
        .into_iter()
        .map(|finding| (finding.kind, text[finding.bytes].to_owned()))
        .collect()
}

fn masked(text: &str) -> String {
    Masker::default().mask(text).text
}

#[track_caller]
fn finds(kind: Kind, text: &str, value: &str) {
    let found = kinds(text);
    assert!(found.contains(&(kind, value.to_owned())), "{text}: {found:?}");
}

#[test]
fn telephones_in_every_spelling() {
    for value in [
        "13812345678",
        "138 1234 5678",
        "138-1234-5678",
        "+8613812345678",
        "+86 138 1234 5678",
        "１３８１２３４５６７８",
        "138\u{200b}1234\u{200b}5678",
        "幺三八一二三四五六七八",
        "壹叁捌壹贰叁肆伍陆柒捌",
        "①③⑧①②③④⑤⑥⑦⑧",
        "¹³⁸¹²³⁴⁵⁶⁷⁸",
        "1 3 8 1 2 3 4 5 6 7 8",
        "138.1234.5678",
        "138😀1234😀5678",
        "13б12345б78",
        "𝟏𝟑𝟖𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖",
        "138_1234_5678",
        "1️⃣3️⃣8️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣8️⃣",
    ] {
        finds(Kind::Mobile, &format!("我的手机号是{value}，请联系我"), value);
        finds(Kind::Mobile, value, value);
    }
    assert_eq!(masked("打138 1234-5678找我"), "打138****5678找我");
    for value in ["010-74113229", "0755-77589297", "(021)65432109", "021-65432109-801"] {
        finds(Kind::Landline, &format!("电话{value}。"), value);
    }
    finds(
        Kind::Landline,
        "Please call me at +44 20 7946 0958 today",
        "+44 20 7946 0958",
    );
    finds(Kind::Landline, "my number is (555) 123-4567", "(555) 123-4567");
}

#[test]
fn documents_and_cards() {
    finds(Kind::IdCard, "身份证11010519491231002X", "11010519491231002X");
    finds(Kind::IdCard, "110105 19491231 002x", "110105 19491231 002x");
    finds(Kind::IdCard, "身份证号110105194912310021", "110105194912310021");
    finds(Kind::IdCard, "身份证130503670401001", "130503670401001");
    finds(
        Kind::IdCard,
        "幺幺零幺零五一九四九一二三一零零二X",
        "幺幺零幺零五一九四九一二三一零零二X",
    );
    finds(Kind::BankCard, "卡号6222 0212 3456 7890 128", "6222 0212 3456 7890 128");
    finds(Kind::BankCard, "4111 1111 1111 1111", "4111 1111 1111 1111");
    finds(
        Kind::BankCard,
        "卡号是6222021234567890，忘了最后几位",
        "6222021234567890",
    );
    finds(Kind::Passport, "护照E12345678", "E12345678");
    finds(Kind::Passport, "护照号 e 1234 5678", "e 1234 5678");
    finds(Kind::Permit, "港澳通行证C12345678", "C12345678");
    finds(Kind::Permit, "回乡证H12345678", "H12345678");
    finds(Kind::Permit, "我的身份证A123456789", "A123456789");
    finds(Kind::SocialCredit, "税号91350100M000100Y43", "91350100M000100Y43");
    finds(Kind::Plate, "我的车牌是京A·12345", "京A·12345");
    finds(Kind::Plate, "粤BD12345停在门口", "粤BD12345");
    finds(Kind::Account, "账号：zh20240915", "zh20240915");
}

#[test]
fn the_rest_of_what_is_structured() {
    finds(Kind::Email, "发到zhang.san@163.com吧", "zhang.san@163.com");
    finds(Kind::Email, "ｚｈａｎｇ＠qq．com", "ｚｈａｎｇ＠qq．com");
    finds(
        Kind::Email,
        "zhang (at) example (dot) com",
        "zhang (at) example (dot) com",
    );
    finds(Kind::Email, "zhangsan艾特163点com", "zhangsan艾特163点com");
    finds(Kind::WeChat, "加我微信wx_abc123", "wx_abc123");
    finds(Kind::WeChat, "vx：lisi-2020", "lisi-2020");
    finds(Kind::Qq, "qq号123456789", "123456789");
    finds(Kind::Ip, "登录地址192.168.31.7", "192.168.31.7");
    finds(Kind::Ip, "从2001:db8::8a2e:370:7334登录", "2001:db8::8a2e:370:7334");
}

#[test]
fn secrets_are_forgotten() {
    for (text, value) in [
        ("我的密码是abc123!", "abc123"),
        ("密码：Qwerty@2020，帮我查", "Qwerty@2020"),
        ("验证码482913", "482913"),
        ("收到的验证码是 4 8 2 9 1 3", "4 8 2 9 1 3"),
        ("密码前三位是135", "135"),
        ("cvv 123", "123"),
        ("安全码是九二七", "九二七"),
        ("482913是我的验证码", "482913"),
        ("my password is hunter2 thanks", "hunter2"),
        ("password: correcthorse", "correcthorse"),
        ("token=sk-abcdefghij0123456789", "sk-abcdefghij0123456789"),
    ] {
        let masked = Masker::default().mask(text);
        let secret: Vec<_> = masked
            .found
            .iter()
            .filter(|finding| finding.kind == Kind::Secret)
            .collect();
        assert!(
            secret.iter().any(|finding| text[finding.bytes.clone()].contains(value)),
            "{text}: {masked:?}"
        );
        assert!(
            secret.iter().all(|finding| finding.clear.is_none()) && masked.has_secret(),
            "{text}"
        );
        assert!(!masked.text.contains(value), "{}", masked.text);
    }
    let two = masked("密码是abc123或者abc456");
    assert!(!two.contains("abc"), "{two}");
    for text in [
        "密码是多少",
        "怎么改密码",
        "密码输错3次",
        "验证码60秒内有效",
        "密码要6位数",
        "How do I reset my password?",
        "my password is not working",
        "收不到验证码怎么办",
        "验证码多久过期",
    ] {
        assert_eq!(kinds(text), [], "{text}");
    }
}

#[test]
fn names_where_something_speaks_for_one() {
    for (text, value) in [
        ("我叫王小明，想退货", "王小明"),
        ("收件人：欧阳娜娜", "欧阳娜娜"),
        ("姓名张伟 电话稍后给", "张伟"),
        ("联系人是李建国先生", "李建国"),
        ("王建军女士你好", "王建军"),
        ("刘丽娟", "刘丽娟"),
        ("姓名：阿依古丽·买买提", "阿依古丽·买买提"),
        ("My name is John Smith and I lost my card", "John Smith"),
        ("This is Mrs. Amy Kowalski.", "Amy Kowalski"),
    ] {
        finds(Kind::Name, text, value);
    }
    for text in [
        "高兴",
        "安全吗",
        "方便吗",
        "王先生您好",
        "金额多少",
        "华为手机",
        "马上到账",
        "何时到货",
        "应该怎么办",
        "常见问题",
        "我是学生",
        "I am not happy",
        "this is wrong",
        "任何时间",
        "周三上午",
        "白色的",
        "黄金价格",
    ] {
        assert_eq!(kinds(text), [], "{text}");
    }
    assert_eq!(masked("我叫王小明"), "我叫[姓名:王**]");
}

#[test]
fn addresses_down_to_the_room() {
    for (text, value) in [
        (
            "我住在北京市朝阳区建国路88号5栋1203室",
            "北京市朝阳区建国路88号5栋1203室",
        ),
        (
            "地址：广东省深圳市南山区科技园南路2号",
            "广东省深圳市南山区科技园南路2号",
        ),
        ("寄到上海浦东新区张江路500弄3号楼201", "上海浦东新区张江路500弄3号楼201"),
        ("幸福小区5号楼2单元301", "幸福小区5号楼2单元301"),
        ("My address is 221 Baker Street, London", "221 Baker Street, London"),
    ] {
        finds(Kind::Address, text, value);
    }
    assert_eq!(masked("我住在北京市朝阳区建国路88号"), "我住在[地址:北京市朝阳区***]");
    for text in [
        "北京有网点吗",
        "我在上海",
        "5号发货吗",
        "几号到账",
        "超市在哪",
        "3月5号上午",
        "北京市有几家分行",
        "这个型号有货吗",
        "我知道了",
        "一号线坐到哪",
        "3楼有吗",
    ] {
        assert_eq!(kinds(text), [], "{text}");
    }
}

#[test]
fn what_is_nobodys_stays() {
    for text in [
        "拨打95588还是12345",
        "客服400-820-8820",
        "信用卡400-000-8611（24小时），商城400-000-8700（8:00–22:00）",
        "4008208820",
        "花了1299元",
        "转账50000.00元",
        "2024-03-05 14:30:00",
        "二〇二四年三月五日",
        "股票600519和000001",
        "iPhone 15 Pro Max 256GB",
        "型号SM-G9980",
        "身份证办理要几天",
        "手机号怎么换绑",
        "卡号在哪里看",
        "利率3.45%",
        "¥13,888.00",
        "版本1.2.3.4",
        "一百二十三万四千五百",
        "尾号5678的卡",
        "110",
        "13:00到18:00",
        "15 16 17 18 19 20",
        "第12345678次",
    ] {
        let found: Vec<_> = kinds(text)
            .into_iter()
            .filter(|(kind, _)| !matches!(kind, Kind::Order | Kind::Tracking))
            .collect();
        assert_eq!(found, [], "{text}");
    }
    for text in [
        "订单号634014735637653",
        "订单:13812345678",
        "运单号SF1234567890123",
        "快递单号 75123456789012",
        "订单36437559499",
    ] {
        assert_eq!(masked(text), text);
    }
    let own = DEFAULT_POLICY.replace("public_numbers = []", "public_numbers = [\"021-38576666\"]");
    let masker = Masker::new(Policy::parse(&own).unwrap());
    assert_eq!(masker.mask("打021-38576666").text, "打021-38576666");
}

#[test]
fn a_value_that_goes_on_in_the_next_message_is_found() {
    let masker = Masker::default();
    let second = masker.mask_after("我的手机号是138", "", "12345678，麻烦快点");
    assert_eq!(second.text.matches("12345678").count(), 0, "{second:?}");
    assert_eq!(second.reaches_back, 3);
    let secret = masker.mask_after("我的密码是", "", "abc123");
    assert!(
        secret.has_secret() && secret.reaches_back == 0 && !secret.text.contains("abc123"),
        "{secret:?}"
    );
    let name = masker.mask_after("", "请问您的姓名是？", "阿依古丽");
    assert_eq!(
        name.found.first().map(|finding| finding.kind),
        Some(Kind::Name),
        "{name:?}"
    );
    assert_eq!(masker.mask_after("订单号1234", "请稍等", "5678").text, "5678");
}

#[test]
fn masking_what_is_masked_changes_nothing() {
    for text in [
        "我叫王小明，手机13812345678，身份证11010519491231002X，卡号6222 0212 3456 7890 128，住北京市朝阳区建国路88号5栋1203室，邮箱zhang.san@163.com，密码abc123，qq号123456789，微信号wx_abc123，车牌京A12345，电话010-74113229，护照E12345678",
        "My name is John Smith, 221 Baker Street, call (555) 123-4567",
    ] {
        let once = masked(text);
        assert_eq!(masked(&once), once);
    }
}

#[test]
fn places_are_those_of_the_original() {
    let text = "电\u{200b}话：１３８\u{200b}１２３４５６７８哦";
    let masked = Masker::default().mask(text);
    let finding = &masked.found[0];
    assert_eq!(&text[finding.bytes.clone()], "１３８\u{200b}１２３４５６７８");
    let chars: String = text.chars().skip(finding.span.start).take(finding.span.len()).collect();
    assert_eq!(chars, text[finding.bytes.clone()]);
    let mask: String = masked
        .text
        .chars()
        .skip(finding.masked_span.start)
        .take(finding.masked_span.len())
        .collect();
    assert_eq!(mask, finding.mask);
    assert_eq!(format!("{:?}", finding.clear), "Some(***)");
}

#[test]
fn nothing_that_is_written_stops_it() {
    let pieces = [
        "138",
        "1234",
        "5678",
        "我叫",
        "王",
        "明",
        "密码",
        "是",
        "@",
        ".",
        "com",
        "-",
        " ",
        "京A",
        "路",
        "号",
        "5",
        "省",
        "市",
        "+86",
        "0",
        "(",
        ")",
        "x",
        "X",
        "E",
        "\n",
        "微信",
        "qq",
        "é",
        "😀",
        "\u{200b}",
        "①",
        "一",
        "十",
        "address is",
        "my name is",
        "Mr.",
        "::",
        "sk-",
        "有效期",
        "/",
        "税号",
        "SF",
        "北京",
        "街",
        "电话",
        "a",
        "Z9",
    ];
    let mut state = 7_u64;
    for _ in 0..5000 {
        let mut text = String::new();
        for _ in 0..=(state % 12) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        let once = masked(&text);
        assert!(!once.is_empty() || text.is_empty());
    }
}

#[test]
fn a_stream_is_masked_as_the_whole_is() {
    let text = "您好，我叫王小明，手机号是138 1234 5678，身份证11010519491231002X，请寄到北京市朝阳区建国路88号5栋1203室，谢谢。我的卡号6222021234567890128刷不了，密码是abc123，怎么办呢？订单号634014735637653，客服电话95588打不通。";
    let whole = masked(text);
    for size in [1, 2, 3, 5, 7, 11, 40, 200] {
        let mut stream = StreamMasker::new(Masker::default());
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::new();
        for piece in chars.chunks(size) {
            out.push_str(&stream.push(&piece.iter().collect::<String>()));
        }
        out.push_str(&stream.finish());
        assert_eq!(out, whole, "in pieces of {size}");
        assert!(stream.has_secret());
    }
}
