//! The page of the load test, in a real browser and fed by a real run: it moves, needs nothing from elsewhere, complains of
//! nothing, fits a phone, and can be read without telling colours apart.

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, thread};

use serde_json::{Value, json};

#[path = "page/chromium.rs"]
mod chromium;

use chromium::{Browser, Tab};

const PHONE: u32 = 360;
/// For what shows within seconds, and for the run as a whole.
const SOON: Duration = Duration::from_secs(20);
const RUN: Duration = Duration::from_secs(90);

/// A run of the load test. It ends with the test.
struct Load {
    process: Child,
    address: String,
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Load {
    /// Builds and starts it. Cargo does not build examples for tests that are asked for by name, or by `--tests`.
    fn start() -> Self {
        let tests = env::current_exe().expect("this test");
        let profile = tests.ancestors().nth(2).expect("target, profile, deps");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace", "--all-features", "--example", "load", "--target-dir"]);
        build.arg(profile.parent().expect("target"));
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo").success(), "the example `load` builds");
        let load = profile.join(Path::new("examples/load"));
        let mut process = Command::new(load)
            .args(["--short", "--serve", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("http://")?.1.split('/').next()?.to_owned()));
        thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.expect("it says where the page is") }
    }
}

/// Everything that a page must not tell: errors and warnings, exceptions, requests that fail, or that go elsewhere.
fn complaints(tab: &mut Tab<'_>, address: &str) -> Vec<String> {
    let own = format!("http://{address}/");
    let complaint = |event: &Value| {
        let params = &event["params"];
        let loud = |level: &Value| level == "error" || level == "warning" || level == "assert";
        match event["method"].as_str()? {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => loud(&params["type"]),
            "Log.entryAdded" => loud(&params["entry"]["level"]),
            // The page itself closes its stream.
            "Network.loadingFailed" => params["canceled"] != true,
            "Network.responseReceived" => params["response"]["status"].as_u64()? >= 400,
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str()?;
                !url.starts_with(&own) && !url.starts_with("data:")
            }
            _ => false,
        }
        .then(|| event.to_string())
    };
    tab.events().iter().filter_map(complaint).collect()
}

/// Texts that are too small, too faint or cut off, and things that stick out at the right.
const UNREADABLE: &str = r#"(() => {
    const found = [];
    const channels = color => color.match(/[\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
        for (let at = element; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if (channels(color)[3] !== 0) return color;
        }
        return "rgb(255, 255, 255)";
    };
    if (document.documentElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
    for (const element of document.body.querySelectorAll("*")) {
        const box = element.getBoundingClientRect(), style = getComputedStyle(element), what = element.outerHTML.slice(0, 120);
        if (box.right > innerWidth + 0.5 || box.left < -0.5) found.push("sticks out: " + what);
        const says = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!says || element.localName === "script") continue;
        const scale = element.getScreenCTM?.().a ?? 1;
        if (parseFloat(style.fontSize) * scale < 12) found.push("too small: " + what);
        const svg = element instanceof SVGElement;
        const one = luminance(channels(svg ? style.fill : style.color)), other = luminance(channels(behind(element)));
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) found.push("too faint, " + contrast.toFixed(1) + ": " + what);
    }
    return found;
})()"#;

/// Of each chart, what tells its lines apart when colours do not: patterns and the names at their ends.
const APART: &str = r#"[...document.querySelectorAll("figure")].map(figure => {
    const lines = [...figure.querySelectorAll(".plot g")];
    return {
        lines: lines.length,
        patterns: new Set(lines.map(g => getComputedStyle(g.querySelector(".line")).strokeDasharray)).size,
        names: new Set(lines.map(g => g.querySelector("text")?.textContent.split(" ")[0]).filter(Boolean)).size,
        told: lines.every(g => figure.querySelector(".plot").getAttribute("aria-label").includes(" at most")),
    };
})"#;

const SHAPES: &str =
    r#"[...document.querySelectorAll(".plot")].map(plot => plot.querySelector(".line")?.getAttribute("d") ?? "")"#;

/// Hands connections on to the page's server, and cuts them when told to.
struct Cable {
    address: SocketAddr,
    ends: Arc<Mutex<Vec<Arc<TcpStream>>>>,
}

impl Cable {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let ends: Arc<Mutex<Vec<Arc<TcpStream>>>> = Arc::default();
        let (server, kept) = (server.to_owned(), Arc::clone(&ends));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&server) else { return };
                let (near, far) = (Arc::new(near), Arc::new(far));
                kept.lock().expect("no panic").extend([Arc::clone(&near), Arc::clone(&far)]);
                let (there, back) = ((Arc::clone(&near), Arc::clone(&far)), (far, near));
                for (from, to) in [there, back] {
                    thread::spawn(move || io::copy(&mut &*from, &mut &*to));
                }
            }
        });
        Self { address, ends }
    }

    fn cut(&self) {
        for end in self.ends.lock().expect("no panic").drain(..) {
            let _ = end.shutdown(Shutdown::Both); // it may have ended by itself
        }
    }
}

/// A page whose connection is cut says so, connects anew by itself, and has missed nothing.
fn survives_a_cut(browser: &mut Browser, server: &str) {
    let cable = Cable::to(server);
    let mut tab = browser.open(&format!("http://{}/", cable.address), PHONE);
    tab.until("figures", SOON, "points.length > 3");
    let before = tab.eval(
        "new MutationObserver(() => window.said = (window.said ?? '') + link.textContent)
        .observe(link, { childList: true }); [points[0].t, before.t, points.length]",
    );
    cable.cut();
    tab.until("figures again", SOON, &format!("(window.said ?? '').endsWith('live') && before?.t > {}", before[1]));
    assert_eq!(tab.eval("window.said"), "the connection is lost; trying againlive");
    assert_eq!(tab.eval("points[0].t"), before[0], "the history from its beginning");
    assert!(tab.eval("points.length").as_u64() > before[2].as_u64());
    assert_eq!(tab.eval("points.every((point, i) => i === 0 || point.t > points[i - 1].t)"), true, "each once");
}

#[test]
fn the_page_works_in_a_browser() {
    let mut load = Load::start();
    let mut browser = Browser::start();
    survives_a_cut(&mut browser, &load.address);
    let mut tab = browser.open(&format!("http://{}/", load.address), PHONE);

    // It moves: each chart has a line, and it is another one later.
    let drawn = format!("{SHAPES}.filter(d => d.split('L').length > 3).length === 4");
    tab.until("four charts", SOON, &drawn);
    let before = tab.eval(SHAPES);
    tab.until("all charts move", SOON, &format!("{SHAPES}.every((d, i) => d !== {before}[i])"));
    assert_eq!(tab.eval("document.getElementById('link').textContent"), "live");

    // On a phone, by day, by night, and in the reader's own colours.
    assert_eq!(tab.eval("innerWidth"), PHONE);
    tab.until("a verdict", SOON, "/[✓✗] (held|broken)/.test(document.getElementById('phases').textContent)");
    let looks = [("prefers-color-scheme", "light"), ("prefers-color-scheme", "dark"), ("forced-colors", "active")];
    for (feature, value) in looks {
        tab.prefer(feature, value);
        assert_eq!(tab.eval(UNREADABLE), json!([]), "{feature}: {value}");
        for chart in tab.eval(APART).as_array().expect("charts") {
            assert!(chart["lines"].as_u64() >= Some(2), "{chart}");
            assert_eq!((&chart["patterns"], &chart["names"]), (&chart["lines"], &chart["lines"]), "{chart}");
            assert_eq!(chart["told"], true, "in words: {chart}");
        }
    }

    // Less motion: what comes four times a second is drawn once.
    tab.prefer("prefers-reduced-motion", "reduce");
    let drawings = tab.eval(
        "new Promise(done => {
            const start = before.t;
            let drawings = 0;
            new MutationObserver(() => drawings += 1).observe(CHARTS[0].svg, { childList: true });
            source.addEventListener('message', () => { if (over || before.t >= start + 3) done(drawings); });
        })",
    );
    assert!(drawings.as_u64() <= Some(4), "{drawings}");
    tab.prefer("prefers-reduced-motion", "no-preference");

    let metrics = "fetch('/metrics').then(async answer => [answer.headers.get('content-type'), await answer.text()])";
    let metrics = tab.eval(metrics);
    assert_eq!(metrics[0], "text/plain; version=0.0.4");
    let text = metrics[1].as_str().expect("text");
    assert!(text.contains("# TYPE stampede_calls_total counter\nstampede_calls_total{"), "{text}");

    tab.until("the end", RUN, "document.getElementById('status').textContent.includes('The run is over')");
    tab.until("that it says so", SOON, "document.getElementById('link').textContent === 'these are the last figures'");
    assert_eq!(tab.eval(UNREADABLE), json!([]));
    // What stands still is drawn anew when the window changes.
    for width in [1280, 320] {
        tab.resize(width);
        tab.until("nothing is cut off", SOON, &format!("innerWidth === {width} && {UNREADABLE}.length === 0"));
    }
    // It says what the program says.
    let held = tab.eval("document.getElementById('status').textContent === '✓ The run is over: all claims held.'");
    assert_eq!(held, load.process.wait().expect("its end").success());
    assert_eq!(complaints(&mut tab, &load.address), [""; 0]);
}
