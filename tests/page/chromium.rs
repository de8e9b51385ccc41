//! A headless Chromium, spoken to by the `DevTools` protocol.
//!
//! The protocol goes over a pair of pipes (`--remote-debugging-pipe`): JSON messages, each ended by a zero byte. So there is no
//! port to find, no websocket and no crate; and the browser ends by itself when its pipe is closed, however the test ends.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use serde_json::{Value, json};

/// What any answer may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Browser {
    process: Child,
    orders: Option<ChildStdin>,
    news: Receiver<Value>,
    last: u64,
    /// What pages told unasked, and nobody has looked at.
    events: Vec<Value>,
    profile: PathBuf,
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It ends now, or as soon as it hears that it should.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

impl Browser {
    pub(crate) fn start() -> Self {
        let profile = env::temp_dir().join(format!("stampede-chromium-{}", process::id()));
        fs::create_dir_all(&profile).expect("a folder");
        // The shell hands its own input and output on as the descriptors 3 and 4, where the browser looks for the pipes.
        // The sandbox is for pages of others, and does not work for root.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null"#, "chromium"])
            .args(["--headless", "--no-sandbox", "--no-first-run", "--disable-gpu", "--remote-debugging-pipe"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(profile.join("log")).expect("a log"))
            .spawn()
            .expect("a shell");
        let orders = process.stdin.take();
        let messages = BufReader::new(process.stdout.take().expect("a pipe")).split(0);
        let (send, news) = mpsc::channel();
        thread::spawn(move || {
            for message in messages.map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { process, orders, news, last: 0, events: Vec::new(), profile };
        browser.call(None, "Browser.getVersion", &json!({}));
        browser
    }

    /// Asks for something, and waits for the answer.
    fn call(&mut self, session: Option<&str>, method: &str, params: &Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut order = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            order["sessionId"] = session.into();
        }
        let sent = write!(self.orders.as_mut().expect("open"), "{order}\0");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(mut message) = sent.as_ref().ok().and_then(|()| self.news.recv_timeout(left).ok()) else {
                let log = fs::read_to_string(self.profile.join("log")).unwrap_or_default();
                panic!("`chromium` does not answer; on Debian: apt-get install chromium ({method})\n{log}");
            };
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            if message["id"].is_null() {
                self.events.push(message);
            }
        }
    }

    /// Opens a page in a tab of its own, on a screen of this width.
    pub(crate) fn open(&mut self, url: &str, width: u32) -> Tab<'_> {
        let target = self.call(None, "Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session =
            self.call(None, "Target.attachToTarget", &attach)["sessionId"].as_str().expect("a session").to_owned();
        let mut tab = Tab { browser: self, session };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.call(&format!("{domain}.enable"), &json!({}));
        }
        tab.resize(width);
        let answer = tab.call("Page.navigate", &json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        tab.until(url, PATIENCE, &format!("location.href === '{url}' && document.readyState === 'complete'"));
        tab
    }
}

pub(crate) struct Tab<'b> {
    browser: &'b mut Browser,
    session: String,
}

impl Tab<'_> {
    fn call(&mut self, method: &str, params: &Value) -> Value {
        let session = self.session.clone();
        self.browser.call(Some(&session), method, params)
    }

    pub(crate) fn resize(&mut self, width: u32) {
        let screen = json!({ "width": width, "height": 740, "deviceScaleFactor": 1, "mobile": true });
        self.call("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// The value of an expression, within the page. One that is a promise is waited for.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, what: &str, limit: Duration, expression: &str) {
        let start = Instant::now();
        while self.eval(expression) != json!(true) {
            let is_early = start.elapsed() < limit;
            assert!(is_early, "in vain: {what}; the page says: {}", self.eval("document.body.innerText"));
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What the reader's system asks of pages: `prefers-color-scheme`, say.
    pub(crate) fn prefer(&mut self, feature: &str, value: &str) {
        let params = json!({ "features": [{ "name": feature, "value": value }] });
        self.call("Emulation.setEmulatedMedia", &params);
    }

    /// What the tab has told so far, by kind, once.
    pub(crate) fn events(&mut self) -> Vec<Value> {
        self.call("Runtime.evaluate", &json!({ "expression": "0" })); // what was on its way comes before this answer
        let (mine, others) = self.browser.events.drain(..).partition(|event| event["sessionId"] == *self.session);
        self.browser.events = others;
        mine
    }
}
