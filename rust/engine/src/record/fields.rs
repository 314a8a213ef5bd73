//! The names of the fields, in wire order: the one place readers in other languages look up.

use super::Kind;

/// Fields of the array every record is.
pub const HEAD: &[&str] =
    &["kind", "event_id", "brand", "accept_ms", "claim_ms", "trust", "source", "body"];
/// Fields of an identifier.
pub const IDENTIFIER: &[&str] = &["type", "digest"];
/// Fields of `client`.
pub const CLIENT: &[&str] = &["address_prefix", "user_agent", "referrer", "network", "request"];

/// Fields of what the edge knows of an address.
pub const NETWORK: &[&str] = &["address", "address_before", "flags", "country", "lists"];

/// Fields of what the edge keeps of a browser's request.
pub const REQUEST: &[&str] = &[
    "http_version",
    "is_secure",
    "fetch_dest",
    "fetch_mode",
    "fetch_site",
    "fetch_user",
    "purpose",
    "accept",
    "accept_language",
    "agent_brands",
    "agent_mobile",
    "agent_platform",
];
/// Fields of `money`.
pub const MONEY: &[&str] =
    &["amount_minor", "currency", "discount_minor", "tax_minor", "shipping_minor"];
/// Fields of an item.
pub const ITEM: &[&str] = &["sku", "name", "category", "quantity", "subtotal_minor"];

const CONVERSION: &[&str] = &[
    "conversion_id",
    "program",
    "event_type",
    "order_id",
    "line",
    "flags",
    "click_id",
    "identifiers",
    "money",
    "promo_code",
    "customer_status",
    "items",
    "params",
    "client",
    "refused",
    "started_ms",
];

/// Fields of the body of a kind.
pub fn of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Click => &["program", "partner", "link", "flags", "identifiers", "params", "client"],
        Kind::PageView => &["program", "url", "flags", "identifiers", "client"],
        Kind::Identify => &["program", "flags", "identifiers", "client"],
        Kind::Conversion => CONVERSION,
        Kind::Control => &["object", "number", "revision", "value"],
        Kind::Decision => &["action", "subject", "params"],
        Kind::Erasure => &["scope", "dry_run", "force", "identifiers"],
        Kind::Tick => &[],
    }
}
