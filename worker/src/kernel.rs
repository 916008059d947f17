//! A trigger `linux-meta*` installs that kernel flavour in the testbed before the test (contract "The command line").

use proofhouse_core::{params::Trigger, request::Request};

/// The setup commands that install the kernels which the triggers name, in their order.
pub(crate) fn setup_commands(request: &Request) -> Vec<String> {
    request.triggers.iter().filter_map(of_trigger).collect()
}

/// Takes the first of these that the testbed's archive has: the package that the kernel's own tests want, the flavour's
/// image, the generic one.
fn of_trigger(trigger: &Trigger) -> Option<String> {
    let source = trigger.source.as_str();
    let flavour = match source.strip_prefix("linux-meta")? {
        "" => "-generic",
        flavour if flavour.starts_with('-') => flavour,
        _ => return None,
    };
    let testing = quote(&format!("kernel-testing--{source}--full--preferred"));
    let flavour = quote(flavour);
    Some(format!(
        "apt-get update; \
         if apt-cache show {testing} >/dev/null 2>&1; then set -- {testing}; \
         elif apt-cache show linux-image{flavour} >/dev/null 2>&1; then set -- linux-image{flavour} linux-headers{flavour}; \
         else set -- linux-image-generic linux-headers-generic; fi; \
         DEBIAN_FRONTEND=noninteractive apt-get install -y \"$@\""
    ))
}

/// One word for a shell, whatever is in it.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(trigger: &str) -> Option<String> {
        of_trigger(&trigger.parse().unwrap())
    }

    #[test]
    fn only_kernel_meta_packages() {
        assert_eq!(command("linux/6.8"), None);
        assert_eq!(command("linux-metal/1"), None);
        assert!(command("linux-meta/6.8").unwrap().contains("linux-image'-generic'"));
        let aws = command("linux-meta-aws-6.8/6.8.0").unwrap();
        assert!(aws.contains("set -- linux-image'-aws-6.8' linux-headers'-aws-6.8'"), "{aws}");
        assert!(aws.contains("'kernel-testing--linux-meta-aws-6.8--full--preferred'"), "{aws}");
    }

    #[test]
    fn a_quoted_word_stays_one_word() {
        for word in ["a b", "$(x)", "it's", "-a;b"] {
            let script = format!("printf %s {}", quote(word));
            let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), word);
        }
    }
}
