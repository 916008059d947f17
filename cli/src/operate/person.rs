//! Who gives the command, as the audit log names them.

use nix::unistd::{Uid, User};

use crate::print;

/// The login name as the environment says it, of whoever called sudo before that of root; else that of the account, which
/// has no name in some containers.
pub(crate) fn person() -> String {
    let said = ["SUDO_USER", "USER", "LOGNAME"].map(|name| std::env::var(name).ok());
    let uid = Uid::current();
    // Where the accounts cannot be read there is the number.
    named(&said, || Some(User::from_uid(uid).ok()??.name), uid.as_raw())
}

fn named(said: &[Option<String>], account: impl FnOnce() -> Option<String>, uid: u32) -> String {
    let clean = |name: &String| Some(print::one_line(name, 100)).filter(|name| !name.is_empty());
    let said = said.iter().flatten().find_map(clean);
    said.or_else(|| clean(&account()?)).unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_called_sudo_goes_before_root() {
        let own = |name: &str| Some(name.to_owned());
        assert_eq!(named(&[own("ann"), own("root")], || own("root"), 0), "ann");
        assert_eq!(named(&[own(""), None, own("joe")], || own("root"), 7), "joe");
        assert_eq!(named(&[None, own("")], || own("postgres"), 7), "postgres");
        assert_eq!(named(&[None], || None, 7), "uid 7");
    }

    #[test]
    fn the_account_has_a_name() {
        let account = User::from_uid(Uid::from_raw(0)).unwrap().map(|user| user.name);
        assert_eq!(named(&[], || account, 0), "root");
    }
}
