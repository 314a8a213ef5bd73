//! Which browser a user agent names.

/// A browser, or an app that shows pages. The numbers stand in slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Browser {
    /// None of the others.
    #[default]
    Other = 0,
    /// Google Chrome, and what does not tell itself apart from it.
    Chrome = 1,
    /// Safari.
    Safari = 2,
    /// Firefox.
    Firefox = 3,
    /// Microsoft Edge.
    Edge = 4,
    /// Opera.
    Opera = 5,
    /// Samsung Internet.
    Samsung = 6,
    /// An app's page view on Android.
    AndroidView = 7,
    /// An app's page view on iOS.
    IosView = 8,
    /// Internet Explorer.
    InternetExplorer = 9,
    /// Facebook's apps.
    Facebook = 10,
    /// Instagram's app.
    Instagram = 11,
    /// `TikTok`'s app.
    TikTok = 12,
    /// Snapchat's app.
    Snapchat = 13,
    /// Pinterest's app.
    Pinterest = 14,
    /// Google's search app.
    GoogleApp = 15,
    /// Yandex Browser.
    Yandex = 16,
    /// UC Browser.
    Uc = 17,
    /// Vivaldi.
    Vivaldi = 18,
    /// Xiaomi's browser.
    Miui = 19,
    /// Huawei's browser.
    Huawei = 20,
    /// Amazon Silk.
    Silk = 21,
    /// `DuckDuckGo`'s browser.
    DuckDuckGo = 22,
    /// `WeChat`.
    WeChat = 23,
    /// LINE.
    Line = 24,
}

/// An operating system. The numbers stand in slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum System {
    /// None of the others.
    #[default]
    Other = 0,
    /// Windows.
    Windows = 1,
    /// macOS, and an iPad that asks for desktop pages.
    Mac = 2,
    /// iOS and iPadOS.
    Ios = 3,
    /// Android.
    Android = 4,
    /// Linux.
    Linux = 5,
    /// `ChromeOS`.
    ChromeOs = 6,
}

/// The browser that a user agent names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Which.
    pub family: Browser,
    /// Its major version, 0 when it is not named.
    pub major: u16,
    /// The major version of the Chromium it is made of; 0 when of none.
    pub chromium: u16,
    /// On which system.
    pub system: System,
    /// Whether it says that it is a telephone's.
    pub is_mobile: bool,
}

/// Marks of browsers, those that build on others before these.
const MARKS: [(&str, Browser); 38] = [
    ("FBAN/", Browser::Facebook),
    ("FBAV/", Browser::Facebook),
    ("FB_IAB/", Browser::Facebook),
    ("Instagram ", Browser::Instagram),
    ("musical_ly_", Browser::TikTok),
    ("trill_", Browser::TikTok),
    ("BytedanceWebview/", Browser::TikTok),
    ("Snapchat/", Browser::Snapchat),
    ("Pinterest/", Browser::Pinterest),
    ("MicroMessenger/", Browser::WeChat),
    (" Line/", Browser::Line),
    ("GSA/", Browser::GoogleApp),
    ("DuckDuckGo/", Browser::DuckDuckGo),
    ("Ddg/", Browser::DuckDuckGo),
    ("YaBrowser/", Browser::Yandex),
    ("UCBrowser/", Browser::Uc),
    ("Vivaldi/", Browser::Vivaldi),
    ("MiuiBrowser/", Browser::Miui),
    ("HuaweiBrowser/", Browser::Huawei),
    ("Silk/", Browser::Silk),
    ("SamsungBrowser/", Browser::Samsung),
    ("EdgiOS/", Browser::Edge),
    ("EdgA/", Browser::Edge),
    ("Edg/", Browser::Edge),
    ("Edge/", Browser::Edge),
    ("OPR/", Browser::Opera),
    ("OPT/", Browser::Opera),
    ("OPiOS/", Browser::Opera),
    ("Opera", Browser::Opera),
    ("FxiOS/", Browser::Firefox),
    ("Firefox/", Browser::Firefox),
    ("CriOS/", Browser::Chrome),
    ("; wv)", Browser::AndroidView),
    ("Chrome/", Browser::Chrome),
    ("Trident/", Browser::InternetExplorer),
    ("MSIE ", Browser::InternetExplorer),
    ("Version/", Browser::Safari),
    ("AppleWebKit/", Browser::IosView),
];

/// Marks of systems, those that others pretend to be last.
const SYSTEMS: [(&str, System); 11] = [
    ("Windows Phone", System::Other),
    ("Tizen", System::Other),
    ("Android", System::Android),
    ("CrOS", System::ChromeOs),
    ("iPhone", System::Ios),
    ("iPad", System::Ios),
    ("iPod", System::Ios),
    ("Windows", System::Windows),
    ("Macintosh", System::Mac),
    ("Mac OS X", System::Mac),
    ("Linux", System::Linux),
];

impl Agent {
    /// The browser a user agent names.
    pub fn of(user_agent: &str) -> Self {
        let found = SYSTEMS.iter().find(|(mark, _)| user_agent.contains(mark));
        let system = found.map_or(System::Other, |(_, system)| *system);
        let (mut family, mark) = match MARKS.iter().find(|(mark, _)| user_agent.contains(mark)) {
            Some((mark, family)) => (*family, *mark),
            None => (Browser::Other, ""),
        };
        let chromium = major_after(user_agent, "Chrome/").unwrap_or(0);
        // Only Apple's systems have Safari, and page views that name no browser.
        if matches!(family, Browser::Safari | Browser::IosView)
            && !matches!(system, System::Ios | System::Mac)
        {
            family = Browser::Other;
        }
        let major = match family {
            Browser::AndroidView => Some(chromium),
            Browser::Other => None,
            _ => major_after(user_agent, mark),
        };
        let is_mobile = user_agent.contains("Mobi");
        Self { family, major: major.unwrap_or(0), chromium, system, is_mobile }
    }

    /// Whether it is an app's view of a page on a telephone.
    pub(super) fn is_page_view(self, user_agent: &str) -> bool {
        match self.system {
            System::Android => user_agent.contains("; wv)") || user_agent.contains("Version/4.0"),
            System::Ios => user_agent.contains("Mobile/") && !user_agent.contains("Safari/"),
            _ => false,
        }
    }

    /// All of it as one number: user agents of the same number are of one kind.
    pub fn slice(self) -> u64 {
        let Self { family, major, system, is_mobile, .. } = self;
        (family as u64) << 32 | u64::from(major) << 16 | (system as u64) << 8 | u64::from(is_mobile)
    }
}

/// The whole number that follows a mark.
fn major_after(text: &str, mark: &str) -> Option<u16> {
    let (_, rest) = text.split_once(mark)?;
    let rest = rest.trim_start_matches(['/', ' ']);
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}
