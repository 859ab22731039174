//! What kinds of personal data there are.

use crate::domain::Language;
use serde::{Deserialize, Serialize};

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Password, PIN, CVV, one-time code, token: with parts of them.
    Secret,
    /// Number of an identity card.
    IdCard,
    /// Number of a passport.
    Passport,
    /// Number of a travel permit or identity card of Hong Kong, Macao or Taiwan.
    Permit,
    /// Number of a bank card.
    BankCard,
    /// Number of a mobile telephone.
    Mobile,
    /// Number of any other telephone.
    Landline,
    /// E-mail address.
    Email,
    /// Name of a person.
    Name,
    /// Postal address.
    Address,
    /// Number plate of a car.
    Plate,
    /// Unified social credit code, or tax number.
    SocialCredit,
    /// Number of an account, a policy, a membership.
    Account,
    /// `WeChat` identifier.
    #[serde(rename = "wechat")]
    WeChat,
    /// QQ number.
    Qq,
    /// IP address.
    Ip,
    /// Number of an order.
    Order,
    /// Number of a parcel.
    Tracking,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::Secret,
        Self::IdCard,
        Self::Passport,
        Self::Permit,
        Self::BankCard,
        Self::Mobile,
        Self::Landline,
        Self::Email,
        Self::Name,
        Self::Address,
        Self::Plate,
        Self::SocialCredit,
        Self::Account,
        Self::WeChat,
        Self::Qq,
        Self::Ip,
        Self::Order,
        Self::Tracking,
    ];

    /// The name in settings, files and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::IdCard => "id_card",
            Self::Passport => "passport",
            Self::Permit => "permit",
            Self::BankCard => "bank_card",
            Self::Mobile => "mobile",
            Self::Landline => "landline",
            Self::Email => "email",
            Self::Name => "name",
            Self::Address => "address",
            Self::Plate => "plate",
            Self::SocialCredit => "social_credit",
            Self::Account => "account",
            Self::WeChat => "wechat",
            Self::Qq => "qq",
            Self::Ip => "ip",
            Self::Order => "order",
            Self::Tracking => "tracking",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The word that stands in a mask.
    #[must_use]
    pub fn word(self, language: Language) -> &'static str {
        match (self, language) {
            (Self::Secret, Language::Zh) => "密码",
            (Self::IdCard, Language::Zh) => "身份证",
            (Self::Passport, Language::Zh) => "护照",
            (Self::Permit, Language::Zh) => "通行证",
            (Self::BankCard, Language::Zh) => "银行卡",
            (Self::Mobile, Language::Zh) => "手机",
            (Self::Landline, Language::Zh) => "电话",
            (Self::Email, Language::Zh) => "邮箱",
            (Self::Name, Language::Zh) => "姓名",
            (Self::Address, Language::Zh) => "地址",
            (Self::Plate, Language::Zh) => "车牌",
            (Self::SocialCredit, Language::Zh) => "税号",
            (Self::Account, Language::Zh) => "账号",
            (Self::WeChat, Language::Zh) => "微信",
            (Self::Order, Language::Zh) => "订单",
            (Self::Tracking, Language::Zh) => "运单",
            (Self::Secret, Language::En) => "password",
            (Self::IdCard, Language::En) => "ID",
            (Self::Passport, Language::En) => "passport",
            (Self::Permit, Language::En) => "permit",
            (Self::BankCard, Language::En) => "card",
            (Self::Mobile, Language::En) => "mobile",
            (Self::Landline, Language::En) => "phone",
            (Self::Email, Language::En) => "email",
            (Self::Name, Language::En) => "name",
            (Self::Address, Language::En) => "address",
            (Self::Plate, Language::En) => "plate",
            (Self::SocialCredit, Language::En) => "tax number",
            (Self::Account, Language::En) => "account",
            (Self::WeChat, Language::En) => "WeChat",
            (Self::Qq, _) => "QQ",
            (Self::Ip, _) => "IP",
            (Self::Order, Language::En) => "order",
            (Self::Tracking, Language::En) => "parcel",
        }
    }

    /// What stands where a value of this kind was dropped.
    #[must_use]
    pub fn dropped(self, language: Language) -> String {
        match language {
            Language::Zh => format!("[{}已删除]", self.word(language)),
            Language::En => format!("[{} removed]", self.word(language)),
        }
    }
}
