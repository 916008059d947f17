//! A real browser, driven through WebDriver.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    keeper::Keeper,
    ports::free_port,
    wait::{wait_for, wait_until_ok},
};

/// Longer than a page takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// What WebDriver calls an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Longer pages are cut in pictures.
const TALLEST: u64 = 12_000;

/// The key Tab, as WebDriver has it.
pub const TAB: &str = "\u{e004}";
/// The key Enter.
pub const ENTER: &str = "\u{e007}";

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// In pixels of CSS.
    pub width: u32,
    /// Light on dark.
    pub dark: bool,
}

/// Wide and narrow, light and dark.
pub const LOOKS: [Look; 4] = [
    Look { width: 1280, dark: false },
    Look { width: 1280, dark: true },
    Look { width: 390, dark: false },
    Look { width: 390, dark: true },
];

impl Look {
    /// `wide-light`.
    pub fn name(self) -> String {
        let width = if self.width < 600 { "narrow" } else { "wide" };
        format!("{width}-{}", if self.dark { "dark" } else { "light" })
    }
}

/// A headless Chromium behind ChromeDriver.
#[derive(Debug)]
pub struct Browser {
    session: String,
    client: reqwest::Client,
    _keeper: Keeper,
}

impl Browser {
    /// Starts one that has seen nothing yet (about 3 s).
    pub async fn start() -> Result<Self> {
        let (keeper, port) = (Keeper::new("chromedriver")?, free_port()?);
        let mut command = keeper.command("chromedriver");
        command.arg(format!("--port={port}"));
        let process = keeper.spawn("chromedriver", &mut command)?;
        let (client, base) = (reqwest::Client::new(), format!("http://127.0.0.1:{port}"));
        let status = async || client.get(format!("{base}/status")).send().await?.error_for_status().map(drop);
        wait_until_ok("ChromeDriver", SOON, status).await.context(process.tail(20))?;
        let profile = format!("--user-data-dir={}", keeper.dir().join("profile").display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            &profile,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": flags}}}});
        let answer: Value = client.post(format!("{base}/session")).json(&wanted).send().await?.json().await?;
        let id = answer["value"]["sessionId"].as_str().with_context(|| answer.to_string())?;
        Ok(Self { session: format!("{base}/session/{id}"), client, _keeper: keeper })
    }

    async fn tell(&self, command: &str, body: Value) -> Result<Value> {
        let answer = self.client.post(format!("{}/{command}", self.session)).json(&body).send().await?;
        value(command, answer).await
    }

    async fn told(&self, question: &str) -> Result<Value> {
        let answer = self.client.get(format!("{}/{question}", self.session)).send().await?;
        value(question, answer).await
    }

    async fn devtools(&self, command: &str, params: Value) -> Result<Value> {
        self.tell("goog/cdp/execute", json!({"cmd": command, "params": params})).await
    }

    /// From here on pages look so.
    pub async fn look(&self, look: Look) -> Result<()> {
        let (width, mobile) = (look.width, look.width < 600);
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
        let scheme = if look.dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features})).await.map(drop)
    }

    /// From here on scripts of pages do not run.
    pub async fn without_scripts(&self) -> Result<()> {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await.map(drop)
    }

    /// Goes to an address.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.tell("url", json!({"url": url})).await.map(drop)
    }

    /// Where it is.
    pub async fn url(&self) -> Result<String> {
        Ok(self.told("url").await?.as_str().context("an address")?.to_owned())
    }

    /// What an expression of JavaScript is on this page.
    pub async fn eval(&self, script: &str) -> Result<Value> {
        self.run(&format!("return {script}"), json!([])).await
    }

    /// Runs a script on this page, whatever the page itself may; what it promises is waited for.
    pub async fn run(&self, script: &str, args: Value) -> Result<Value> {
        self.tell("execute/sync", json!({"script": script, "args": args})).await
    }

    /// The text that is to be seen.
    pub async fn text(&self) -> Result<String> {
        let body = self.find("css selector", "body").await?;
        Ok(self.told(&format!("element/{body}/text")).await?.as_str().unwrap_or_default().to_owned())
    }

    async fn find(&self, how: &str, what: &str) -> Result<String> {
        let found = self.tell("element", json!({"using": how, "value": what})).await?;
        Ok(found[ELEMENT].as_str().with_context(|| found.to_string())?.to_owned())
    }

    /// Waits until a text is to be seen.
    pub async fn sees(&self, text: &str) -> Result<()> {
        let seen = async || self.text().await.is_ok_and(|all| all.contains(text)).then_some(());
        let Err(error) = wait_for(&format!("{text:?} to be seen"), SOON, seen).await else { return Ok(()) };
        Err(error.context(format!("{} shows:\n{}", self.url().await?, self.text().await?)))
    }

    /// Clicks the first link whose text holds this.
    pub async fn follow(&self, text: &str) -> Result<()> {
        let link = self.find("partial link text", text).await;
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                let here = format!("no link {text:?} at {}:\n{}", self.url().await?, self.text().await?);
                return Err(error.context(here));
            }
        };
        self.tell(&format!("element/{link}/click"), json!({})).await.map(drop)
    }

    /// Clicks the first element of a selector.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let element = self.find("css selector", selector).await?;
        self.tell(&format!("element/{element}/click"), json!({})).await.map(drop)
    }

    /// Writes into a field.
    pub async fn write(&self, selector: &str, text: &str) -> Result<()> {
        let field = self.find("css selector", selector).await?;
        self.tell(&format!("element/{field}/value"), json!({"text": text})).await.map(drop)
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub async fn press(&self, keys: &str) -> Result<()> {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|stroke| json!({"type": stroke, "value": key.to_string()}))
            })
            .collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": strokes});
        self.tell("actions", json!({"actions": [keyboard]})).await.map(drop)
    }

    /// What has the focus: its text, or its label. An error where nobody can see that it has.
    pub async fn focused(&self) -> Result<String> {
        let script = "const e = document.activeElement, s = getComputedStyle(e);
            return [e.getAttribute('aria-label') || e.textContent, e === document.body || s.outlineStyle !== 'none']";
        let found = self.run(script, json!([])).await?;
        let name = found[0].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(found[1] == true, "nobody sees that {name:?} has the focus at {}", self.url().await?);
        Ok(name)
    }

    /// Presses Tab until a link whose text holds this has the focus.
    pub async fn tab_to(&self, text: &str) -> Result<()> {
        let link = "document.activeElement.tagName === 'A'";
        self.tab_until(text, async || {
            Ok(self.focused().await?.contains(text) && self.eval(link).await? == true)
        })
        .await
    }

    /// Presses Tab until an element of a selector has the focus.
    pub async fn tab_to_field(&self, selector: &str) -> Result<()> {
        let script = "return document.activeElement.matches(arguments[0])";
        self.tab_until(selector, async || {
            self.focused().await?;
            Ok(self.run(script, json!([selector])).await? == true)
        })
        .await
    }

    async fn tab_until(&self, what: &str, is_there: impl AsyncFn() -> Result<bool>) -> Result<()> {
        for _ in 0..150 {
            self.press(TAB).await?;
            if is_there().await? {
                return Ok(());
            }
        }
        anyhow::bail!("Tab leads to no {what:?} at {}", self.url().await?)
    }

    /// The whole page as a picture (PNG, in base64).
    pub async fn picture(&self) -> Result<String> {
        let size = self.eval("[innerWidth, document.documentElement.scrollHeight]").await?;
        let height = size[1].as_u64().context("a height")?.clamp(1, TALLEST);
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": height, "scale": 1});
        let wanted = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let taken = self.devtools("Page.captureScreenshot", wanted).await?;
        Ok(taken["data"].as_str().context("a picture")?.to_owned())
    }
}

async fn value(command: &str, answer: reqwest::Response) -> Result<Value> {
    let mut answer: Value = answer.json().await?;
    let value = answer["value"].take();
    ensure!(value.get("error").is_none(), "{command}: {value}");
    Ok(value)
}
