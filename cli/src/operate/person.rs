//! Who gives the command, as the audit log names them.

use nix::unistd::Uid;

use crate::print;

/// The login name, of whoever called sudo before that of root; without one the number of the account.
pub(super) fn person() -> String {
    let variable = |name| std::env::var(name).ok();
    named(variable("SUDO_USER"), variable("USER"), Uid::current().as_raw())
}

fn named(sudo: Option<String>, user: Option<String>, uid: u32) -> String {
    let name = [sudo, user].into_iter().flatten().map(|name| print::one_line(&name, 100));
    name.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_called_sudo_goes_before_root() {
        let own = |name: &str| Some(name.to_owned());
        assert_eq!(named(own("ann"), own("root"), 0), "ann");
        assert_eq!(named(own(""), own("joe"), 7), "joe");
        assert_eq!(named(None, None, 7), "uid 7");
    }
}
