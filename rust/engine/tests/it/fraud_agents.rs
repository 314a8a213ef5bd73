//! User agents: the list of crawlers, the rules of form, and which browser is named.

use headwater_engine::fraud::agents::{Agent, BotList, Browser, Kind, System};

const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
                       (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";

fn compile(patterns: &[&str]) -> BotList {
    BotList::compile("v", patterns.iter().map(|text| (*text).to_owned()).collect())
}

fn android(device: &str, more: &str) -> String {
    format!(
        "Mozilla/5.0 (Linux; Android 13; {device}) AppleWebKit/537.36 (KHTML, like Gecko) \
         Version/4.0 Chrome/139.0.0.0 Mobile Safari/537.36{more}"
    )
}

#[test]
fn literals_and_expressions_match_anywhere_and_by_case() {
    let bots = compile(&[r"Examplebot\/", "[wW]get", r"^Apache-HttpClient", r"(^| )PTST\/", "a.b"]);
    assert_eq!((bots.skipped(), bots.version()), (0, Some("v")));
    for agent in ["x Examplebot/2", "wget", "Apache-HttpClient/4", "PTST/1", "x PTST/1", "a-b"] {
        assert!(bots.matches(agent), "{agent}");
    }
    for agent in ["examplebot/2", "Examplebot 2", "x Apache-HttpClient", "xPTST/1", "ab", ""] {
        assert!(!bots.matches(agent), "{agent}");
    }
}

#[test]
fn a_pattern_that_is_wrong_or_matches_everybody_is_skipped_and_counted() {
    let wrong =
        ["", "(open", r"\q", "a{1,99999}", ".*", "x*", "Chrome", "Mozilla", "Instagram", "^M"];
    let bots = compile(&[&wrong[..], &["Goodbot"]].concat());
    assert_eq!(bots.skipped(), wrong.len());
    assert!(bots.matches("Goodbot"));
    for agent in [WINDOWS, IPHONE, "", "anything"] {
        assert!(!bots.matches(agent), "{agent}");
    }
}

#[test]
fn what_is_ready_never_changes_an_answer() {
    let bots = compile(&["Examplebot"]);
    let agents: Vec<String> = (0..9000).map(|n| format!("{WINDOWS} App{n}/1.{}", n % 7)).collect();
    for agent in agents.iter().chain(agents.iter().rev()) {
        let agent = if agent.ends_with(".3") { &agent.replace("App", "Examplebot") } else { agent };
        let fresh = compile(&["Examplebot"]).class_of(agent);
        if agent.ends_with(".3") || agent.len() % 50 == 0 {
            assert_eq!(bots.class_of(agent), fresh, "{agent}");
        } else {
            bots.class_of(agent);
        }
        assert_eq!(bots.class_of(agent).is_listed, agent.ends_with(".3"));
    }
}

#[test]
fn nobody_is_behind_a_program_that_fetches_pages() {
    for agent in [
        "",
        "   ",
        "Mozilla",
        "curl/8.5.0",
        "Wget/1.21.4",
        "python-requests/2.32.3",
        "Python-urllib/3.12",
        "Python/3.11 aiohttp/3.9.5",
        "Go-http-client/2.0",
        "Java/17.0.10",
        "Apache-HttpClient/4.5.14 (Java/17.0.10)",
        "libwww-perl/6.72",
        "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
        "axios/1.7.2",
        "got (https://github.com/sindresorhus/got)",
        "undici     ",
        "Ruby, Ruby/3.2",
        "GuzzleHttp/7",
        "PostmanRuntime/7.39.0",
        "Scrapy/2.11.2 (+https://scrapy.org)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         HeadlessChrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/534.34 (KHTML, like Gecko) \
         PhantomJS/1.9.8 Safari/534.34",
        "Mozilla/5.0 (compatible; Something) python-requests/2.28.1",
        "Mozilla/5.0 (Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.1682",
    ] {
        assert_eq!(Kind::of(agent), Kind::NonBrowser, "{agent}");
    }
}

#[test]
fn a_person_may_be_behind_what_only_looks_like_a_program() {
    for agent in [
        "okhttp/4.12.0",
        "SomeShop/5.1 CFNetwork/1494.0.7 Darwin/23.4.0",
        "Mozilla/5.0 (compatible; Examplebot/2.1; +http://www.example.com/bot.html)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Exampler/1.2; \
         +https://example.com/x)",
        "Mozilla/5.0 (compatible)",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
        "Example Link Checker",
        "ExampleLinkChecker/2.0 beta",
        "SiteMonitor from example.org, ask admin@example.org",
        &format!("{WINDOWS} ExamplePreview/1.0"),
        &format!("{WINDOWS} (Example Agent)"),
        &format!("{WINDOWS} example.com/2.0"),
        &android("Nexus 5X Build/MMB29P", " (compatible; Examplebot/2.1)"),
        "Mozilla/5.0 (Linux; Android 7.0; compatible; Example/1.0) AppleWebKit/537.36 Chrome/99",
    ] {
        assert_eq!(Kind::of(agent), Kind::Unknown, "{agent}");
    }
}

#[test]
fn browsers_apps_telephones_televisions_and_consoles_are_browsers() {
    for agent in [
        WINDOWS,
        IPHONE,
        "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
        "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; http://toolbar.example/)",
        "Opera/9.80 (Android; Opera Mini/36.2/119.132; U; en) Presto/2.12.423 Version/12.16",
        &android("CUBOT_X18_Plus Build/O11019; wv", ""),
        &android("Cubot NOTE 20", ""),
        &android("ScanPal EDA51 Build/OPM1.171019.026; wv", ""),
        &android("Robot Check 5 Build/Preview", ""),
        &android("SM-S921B Build/UP1A; wv", " Instagram 390.0.0.47.85 Android (34/14; samsung)"),
        &android("SM-S921B Build/UP1A; wv", " [FB_IAB/FB4A;FBAV/520.0.0.40.100;] MetaIAB Facebook"),
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
         Gecko) Mobile/15E148 Snapchat/13.1.0.43 (like Safari/8617.2.4.10.8, panda)",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
         Gecko) GSA/330.0.669208092 Mobile/15E148 Safari/604.1",
        "Instagram 123.0.0.21.115 (iPhone11,8; iOS 13_3; en_US; en-US; scale=2.00; 828x1792)",
        "SomeShop/4.2 (iPhone; iOS 17.5; Scale/3.00)",
        "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0 \
         Safari/537.36 LG Browser/8.00.00(LGE; 50NANO; 03.20.11); LG NetCast.TV-2013 Compatible \
         (LGE)",
        "Mozilla/5.0 (PlayStation; PlayStation 5/5.10) AppleWebKit/605.1.15 (KHTML, like Gecko) \
         Version/13.0 Safari/605.1.15",
        "Mozilla/5.0 (Nintendo 3DS; U; ; en) Version/1.7567.EU",
        "NokiaC3-00/5.0 (08.63) Profile/MIDP-2.1 Configuration/CLDC-1.1",
        "Dalvik/2.1.0 (Linux; U; Android 13; SM-A536B Build/TP1A.220624.014)",
    ] {
        assert_eq!(Kind::of(agent), Kind::Browser, "{agent}");
    }
}

#[test]
fn the_name_of_a_telephone_or_an_app_is_not_taken_for_that_of_a_crawler() {
    let bots = compile(&["Butterfly", "Viber", r"AP3A\.240617\.008"]);
    let class = bots.class_of(&android("HTC Butterfly Build/AP3A.240617.008", ""));
    assert_eq!((class.is_listed, class.kind), (false, Kind::Browser));
    let class = bots.class_of(&android("SM-F966N; wv", " Viber/27.4.0.0"));
    assert_eq!((class.is_listed, class.kind), (false, Kind::Unknown));
    let class = bots.class_of("Mozilla/5.0 (compatible; Butterfly/1.0)");
    assert!(class.is_listed);
    assert!(bots.class_of(&format!("{WINDOWS} Viber")).is_listed);
    let hidden = "Mozilla/5.0 (Linux; Android 7.0; compatible; Butterfly/1.0) AppleWebKit/537.36";
    assert!(bots.class_of(hidden).is_listed);
}

#[test]
fn a_user_agent_names_its_browser() {
    let of = |agent: &str| {
        let Agent { family, major, chromium, system, is_mobile } = Agent::of(agent);
        (family, major, chromium, system, is_mobile)
    };
    let gecko = "Gecko/20100101 Firefox/141.0";
    let mac =
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)";
    for (agent, expected) in [
        (WINDOWS, (Browser::Chrome, 140, 140, System::Windows, false)),
        (IPHONE, (Browser::Safari, 18, 0, System::Ios, true)),
        (&format!("{WINDOWS} Edg/139.0.0.0"), (Browser::Edge, 139, 140, System::Windows, false)),
        (&format!("{WINDOWS} OPR/120.0"), (Browser::Opera, 120, 140, System::Windows, false)),
        (&format!("{mac} Version/17.4 Safari/605"), (Browser::Safari, 17, 0, System::Mac, false)),
        (
            &format!("Mozilla/5.0 (X11; Linux x86_64; rv:141.0) {gecko}"),
            (Browser::Firefox, 141, 0, System::Linux, false),
        ),
        (
            &format!("Mozilla/5.0 (Android 14; Mobile; rv:141.0) {gecko}"),
            (Browser::Firefox, 141, 0, System::Android, true),
        ),
        (&android("K; wv", ""), (Browser::AndroidView, 139, 139, System::Android, true)),
        (
            "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/139.0 \
             Safari/537.36",
            (Browser::Chrome, 139, 139, System::ChromeOs, false),
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
            (Browser::InternetExplorer, 7, 0, System::Windows, false),
        ),
        ("", (Browser::Other, 0, 0, System::Other, false)),
        ("Chrome/99999999999", (Browser::Chrome, 0, 0, System::Other, false)),
    ] {
        assert_eq!(of(agent), expected, "{agent}");
    }
    let slices =
        [WINDOWS, IPHONE, &format!("{WINDOWS} Edg/140.0.0.0")].map(|a| Agent::of(a).slice());
    assert!(slices[0] != slices[1] && slices[0] != slices[2]);
    assert_eq!(Agent::of(&format!("{WINDOWS} x")).slice(), slices[0]);
}

#[test]
fn odd_user_agents_are_taken_as_they_are() {
    for agent in
        ["((((", "))))", "Mozilla/5.0 (Linux; Android", "ÄÖÜ (ß) ☃☃☃☃☃☃☃☃", "@@@@.@@.@", "/////"]
    {
        let bots = compile(&["Examplebot"]);
        assert!(!bots.class_of(agent).is_listed);
    }
    let long = format!("{WINDOWS}{}", "☃".repeat(2000));
    assert!(!compile(&["Examplebot"]).class_of(&long).is_listed);
}
