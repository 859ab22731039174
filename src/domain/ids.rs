//! Identifiers: UUIDv7, so that they sort by time of creation (RFC 9562, section 5.7).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier, later in order than all that this process made before.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "a fresh identifier is no default value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// One document of the knowledge base.
    DocumentId
);
id!(
    /// One passage (chunk) of a document.
    PassageId
);
id!(
    /// One approved question with its answer.
    FaqId
);
id!(
    /// One value in the vault.
    VaultId
);
id!(
    /// One group of questions that nothing answers.
    GapId
);
id!(
    /// One suggested FAQ.
    SuggestionId
);
id!(
    /// One conversation with one visitor.
    ConversationId
);
id!(
    /// One message of a conversation.
    MessageId
);
id!(
    /// One API key.
    ApiKeyId
);
id!(
    /// One revision of a document or a FAQ.
    RevisionId
);
id!(
    /// One golden question.
    GoldenId
);
id!(
    /// One example of what customers want.
    ExampleId
);
id!(
    /// One person who works with the program.
    UserId
);
id!(
    /// One customer.
    CustomerId
);
id!(
    /// One address of a customer on a channel.
    IdentityId
);
id!(
    /// One call for a person.
    HandoffId
);
