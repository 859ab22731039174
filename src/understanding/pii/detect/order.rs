//! Numbers of orders and parcels. Most companies keep them readable (the policy says so): they are looked for so that nothing
//! else takes them for a telephone or a card.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};

const ORDERS: [&str; 16] = [
    "订单编号",
    "订单号码",
    "订单号",
    "订单",
    "单号",
    "流水号",
    "交易号",
    "支付单号",
    "商品id",
    "商品编号",
    "货号",
    "工单号",
    "受理号",
    "order id",
    "order number",
    "order no",
];
const PARCELS: [&str; 14] = [
    "快递单号",
    "运单号",
    "运单",
    "物流单号",
    "快递号",
    "快递",
    "物流",
    "运输单号",
    "tracking number",
    "tracking no",
    "tracking",
    "waybill",
    "退货单号",
    "寄件码",
];

/// Whether the word directly before a place says that an order's or parcel's number comes.
pub(super) fn announced(scan: &Scan<'_>, place: usize) -> bool {
    let word = |words| {
        scan.last_cue(place, 14, words).is_some_and(|end| {
            scan.slice(end..place).iter().all(|c| {
                !c.is_alphanumeric() || matches!(c, '是' | '为' | '号' | '码' | '的') || c.is_ascii_alphabetic()
            }) && place - end <= 6
        })
    };
    word(&ORDERS) || word(&PARCELS)
}

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        let end = scan.token_end(place, &['-']);
        if end == place {
            place += 1;
            continue;
        }
        let digits = scan.slice(place..end).iter().filter(|c| c.is_ascii_digit()).count();
        if digits >= 6 && end - place >= 8 {
            // The letters before the digits belong to it: SF1234567890123.
            if announced(scan, place) {
                let parcel = scan.cue(place, 14, &PARCELS);
                let kind = if parcel { Kind::Tracking } else { Kind::Order };
                hits.push(Hit {
                    kind,
                    span: place..end,
                    weight: Weight::Cue,
                });
            } else if parcel(scan.lower_slice(place..end)) {
                hits.push(Hit {
                    kind: Kind::Tracking,
                    span: place..end,
                    weight: Weight::Cue,
                });
            }
        }
        place = end;
    }
}

/// A carrier's letters with so many digits as it uses; or as the Universal Postal Union has it (standard S10).
fn parcel(token: &[char]) -> bool {
    let letters = token.iter().take_while(|c| c.is_ascii_alphabetic()).count();
    let digits = token[letters..].iter().take_while(|c| c.is_ascii_digit()).count();
    let rest = token.len() - letters - digits;
    let carrier: String = token[..letters].iter().collect();
    match carrier.as_str() {
        "sf" | "yt" | "jt" | "jd" | "jdv" | "jdva" | "va" | "jdvb" | "dpk" | "zto" | "sto" | "yd" | "ems" => {
            (9..=18).contains(&digits) && rest == 0
        }
        _ => letters == 2 && digits == 9 && rest == 2 && token[11..].iter().all(char::is_ascii_alphabetic),
    }
}
