//! What a failed call says: the broker refused it, or channel or link are gone.

use lapin::ErrorKind;

use crate::tls;

/// The broker's code for "access refused".
pub(super) const ACCESS_REFUSED: u16 = 403;
/// The broker's code for "not found".
pub(super) const NOT_FOUND: u16 = 404;

/// A failed call.
#[derive(Debug)]
pub(super) enum Failure {
    /// The broker closed the channel over this call. Its text names what it refused.
    Refused {
        /// AMQP's reply code.
        code: u16,
        /// The broker's text.
        text: String,
    },
    /// The channel or the link is gone; the call may work on the next one.
    Broken(String),
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(said) if error.is_amqp_soft_error() => {
                Self::Refused { code: said.get_id(), text: said.get_message().to_string() }
            }
            _ => Self::Broken(text(&error)),
        }
    }
}

/// The broker's own words where there are some.
pub(super) fn text(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(said) => said.get_message().to_string(),
        _ => error.to_string(),
    }
}

/// What it means where the first words with a broker fail over TLS, or over its absence.
pub(super) fn handshake(error: &lapin::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::IOError(error) => tls::explain(&**error),
        ErrorKind::ParsingError(_) => Some(
            "it does not speak AMQP at this port: where it wants TLS, the URL begins with amqps://"
                .to_owned(),
        ),
        _ => None,
    }
}

impl Failure {
    /// True where the broker refused with this code.
    pub(super) fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }

    /// The text, for people.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Refused { text, .. } | Self::Broken(text) => text,
        }
    }
}
