//! Surnames, characters of given names, provinces, cities: kept small, and written for this program.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Surnames of one character, the frequent ones first; together over 99 % of all people in China.
const SURNAMES: &str = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段漕钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕聂丛焦向柳邢路岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边辜吉饶刁瞿戚丘古米池滕晋苑邬臧畅宫来嵺苟全褚廉简娄盖符奚木穆党燕郎邸冀谈姬屠连郜晏栾郁商蒙计喻揭窦迟宇敖糜鄢冷卓花仇艾蓝都巩稽井练仲乐虞卞封竺冼原官衣楚佟栗匡宗应台巫鞠僧桑荆谌银扬明沙薄伏岑习胥保和蔺云敬晁幸区尚隆冒鹿伊宓";

/// Surnames of two characters.
const COMPOUND: [&str; 28] = [
    "欧阳", "司马", "上官", "诸葛", "司徒", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "夏侯", "长孙", "宇文",
    "轩辕", "端木", "百里", "呼延", "南宫", "西门", "独孤", "拓跋", "完颜", "澹台", "公冶", "申屠", "闻人", "赫连",
];

/// Surnames that are ordinary words too: believed only where something else speaks for a name.
const ORDINARY: &str = "于高方白黄金田常安马成强时文向明关计应和来万千单包都全连来位路石车花沙水温毛牛江池云官原井台银扬木党管左边房游项章解简查保幸区尚许华阳席桂景封乐宗冷商蒙谈盖牟古米叶梁范任盛符章曲武龙何严张周林程段季祝左古童余";

/// Characters that given names are made of.
const GIVEN: &str = "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂文辉玲红春燕萍飞华玉建国志海峰鹏宇婷雪梅鑫博浩凯丹琴云莉帆倩波宁福龙慧颖欣晨阳亮健俊帅雷斌彬林瑞洁琳晶莹璐佳雅怡婧妍妮娇媛蓉菲菊凤珍淑惠贞秋冬荣彩芬芝翠香莲月桃珠兴旺贵富财发祥顺昌盛金银成宝根生树森柏松彪虎豹东南西北中民兵武胜利庆忠义仁礼智信德孝廉耀光辰星旭晓曦昊天宏鸿振远航程锋钢铁钧铭锐铮钰锦琪琦瑶瑾珊珏璇玥玮珺珂瑜琛瑛璟悦怀恒恺思念慈爱心意诗书画棋歌语言诚谦谨让诺谊卫保安康宜家乐喜欢笑梦幻影冰清爽洲江河湖溪泉源润泽涵沛沐淼淳渊澜灏炎焱煜炜烨灿炳煌燃熙照然坤乾震巍岩岭岗崇嵩山川立章童音韵群聪睿哲慎恩惟懿彤美佩芸萌苗茜茹荷莎菁萱蕊蕾薇蓓蔓丛芷若兮卉依伊仪俐仙亚京伦佑侠倪健元先克全公冠凌凡力加勤化升博卓历友双可史叶向启吟品唯善嘉园圣培城基堂增士壮奇奎女如妙姗姣娅媚嫣嫒子孟学宛宝宪宸寒寿小少尚展岚川巧帝帜平幼广庭廷延建弘强彦征律循微心必志怡恬慕成扬承抒拓捷政敬斐斯新方旋日昂昆昕昭显晋晗普景智暄朋朗望木本杏来柔柯柳栋楠榕槐欧正毅民永汉沁沂泓泰洪浦润淇湘滨滢澄烽焕燊爱牧玄玖珑珩琨琬璧甜田申男畅皓益真知石禄禹科秉秦穆立竹筠纯素红纪纲组绍经维绪绮缘羽翔翰翼耘聪肖胤腾臻舒航良若英范茂莺菡萧葵蓝虹融蝶衍裕西觉誉谋谷豪贝贤赫超越路轩达迅迎进迪逸郁郎重野金鉴铃锡长闯闻阔际陆陶隆雄雨雪雯雁霄霆霖青靖韬韶顺颂领风飘馨驰骁骏高魁鲁鸣鸽鹤鹿麟麦黎默齐龄";

/// Characters that follow a name and belong to none.
const NOT_GIVEN: &str = "的了是在和与及吗呢吧啊呀说要想有没不就都也还被把给向从到对叫你我他她它这那您们个只手电请帮已将能可会收寄住货件票点签来去打联拿买卖退换查问看做用开关付转发款钱号码加先后又很最太每吃喝走到中如票";

/// Provinces and their like, as people name them.
pub(super) const PROVINCES: [&str; 36] = [
    "北京",
    "天津",
    "上海",
    "重庆",
    "河北",
    "山西",
    "辽宁",
    "吉林",
    "黑龙江",
    "江苏",
    "浙江",
    "安徽",
    "福建",
    "江西",
    "山东",
    "河南",
    "湖北",
    "湖南",
    "广东",
    "海南",
    "四川",
    "贵州",
    "云南",
    "陕西",
    "甘肃",
    "青海",
    "台湾",
    "内蒙古",
    "广西",
    "西藏",
    "宁夏",
    "新疆",
    "香港",
    "澳门",
    "内蒙",
    "中国",
];

/// What may follow a province's name.
pub(super) const PROVINCE_ENDS: [&str; 8] = [
    "维吾尔自治区",
    "壮族自治区",
    "回族自治区",
    "特别行政区",
    "自治区",
    "省",
    "市",
    "行政区",
];

/// Cities that are named without 市.
const CITIES: &str = "石家庄 唐山 秦皇岛 邯郸 邢台 保定 张家口 承德 沧州 廊坊 衡水 太原 大同 阳泉 长治 晋城 朔州 晋中 运城 忻州 临汾 吕梁 呼和浩特 包头 乌海 赤峰 通辽 鄂尔多斯 呼伦贝尔 沈阳 大连 鞍山 抚顺 本溪 丹东 锦州 营口 阜新 辽阳 盘锦 铁岭 \
    葫芦岛 长春 四平 辽源 通化 白山 松原 白城 延边 哈尔滨 齐齐哈尔 鸡西 鹤岗 双鸭山 大庆 伊春 佳木斯 七台河 牡丹江 黑河 绥化 南京 无锡 徐州 常州 苏州 南通 连云港 淮安 盐城 扬州 镇江 泰州 宿迁 杭州 宁波 温州 嘉兴 湖州 绍兴 金华 衢州 舟山 台州 丽水 \
    合肥 芜湖 蚌埠 淮南 马鞍山 淮北 铜陵 安庆 黄山 滁州 阜阳 宿州 六安 亳州 池州 宣城 福州 厦门 莆田 三明 泉州 漳州 南平 龙岩 宁德 南昌 景德镇 萍乡 九江 新余 鹰潭 赣州 吉安 宜春 抚州 上饶 济南 青岛 淄博 枣庄 东营 烟台 潍坊 济宁 泰安 威海 日照 临沂 德州 聊城 \
    滨州 菏泽 郑州 开封 洛阳 平顶山 安阳 鹤壁 新乡 焦作 濮阳 许昌 漯河 三门峡 南阳 商丘 信阳 周口 驻马店 武汉 黄石 十堰 宜昌 襄阳 鄂州 荆门 孝感 荆州 黄冈 咸宁 随州 恩施 长沙 株洲 湘潭 衡阳 邵阳 岳阳 常德 张家界 益阳 郴州 永州 怀化 娄底 湘西 广州 韶关 深圳 \
    珠海 汕头 佛山 江门 湛江 茂名 肇庆 惠州 梅州 汕尾 河源 阳江 清远 东莞 中山 潮州 揭阳 云浮 南宁 柳州 桂林 梧州 北海 防城港 钦州 贵港 玉林 百色 贺州 河池 来宾 崇左 海口 三亚 儋州 成都 自贡 攀枝花 泸州 德阳 绵阳 广元 遂宁 内江 乐山 南充 眉山 宜宾 广安 达州 \
    雅安 巴中 资阳 阿坝 甘孜 凉山 贵阳 六盘水 遵义 安顺 毕节 铜仁 昆明 曲靖 玉溪 保山 昭通 丽江 普洱 临沧 楚雄 红河 文山 西双版纳 大理 德宏 怒江 迪庆 拉萨 日喀则 昌都 林芝 山南 那曲 西安 铜川 宝鸡 咸阳 渭南 延安 汉中 榆林 安康 商洛 兰州 嘉峪关 金昌 白银 天水 \
    武威 张掖 平凉 酒泉 庆阳 定西 陇南 临夏 甘南 西宁 海东 银川 石嘴山 吴忠 固原 中卫 乌鲁木齐 克拉玛依 吐鲁番 哈密 昌吉 博尔塔拉 巴音郭楞 阿克苏 喀什 和田 伊犁 塔城 阿勒泰 石河子 昆山 义乌 张家港 常熟 江阴 晋江 太仓 慈溪 余姚 诸暨 台北 高雄 新北 台中 浦东 朝阳区 海淀";

static SURNAME_SET: LazyLock<HashSet<char>> = LazyLock::new(|| SURNAMES.chars().collect());
static ORDINARY_SET: LazyLock<HashSet<char>> = LazyLock::new(|| ORDINARY.chars().collect());
static GIVEN_SET: LazyLock<HashSet<char>> = LazyLock::new(|| GIVEN.chars().collect());
static NOT_GIVEN_SET: LazyLock<HashSet<char>> = LazyLock::new(|| NOT_GIVEN.chars().collect());
static CITY_SET: LazyLock<HashSet<Vec<char>>> =
    LazyLock::new(|| CITIES.split_whitespace().map(|city| city.chars().collect()).collect());

/// The characters of a surname at the beginning of `text`: 1 or 2.
pub(super) fn surname(text: &[char]) -> Option<usize> {
    let two = text
        .get(..2)
        .is_some_and(|two| COMPOUND.iter().any(|name| name.chars().eq(two.iter().copied())));
    if two {
        return Some(2);
    }
    text.first().is_some_and(|c| SURNAME_SET.contains(c)).then_some(1)
}

/// Whether a surname is an ordinary word as well.
pub(super) fn is_ordinary(surname: char) -> bool {
    ORDINARY_SET.contains(&surname)
}

/// Whether given names have this character.
pub(super) fn is_given(c: char) -> bool {
    GIVEN_SET.contains(&c)
}

/// Whether no given name has this character.
pub(super) fn ends_name(c: char) -> bool {
    NOT_GIVEN_SET.contains(&c)
}

/// The characters of a city's name at the beginning of `text`, the longest there is.
pub(super) fn city(text: &[char]) -> Option<usize> {
    (2..=5)
        .rev()
        .find(|length| text.get(..*length).is_some_and(|name| CITY_SET.contains(name)))
}
