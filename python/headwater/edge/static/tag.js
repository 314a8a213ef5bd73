/*
 * The tag: what a brand's pages say to their tracking host. One global, `headwater`; nothing it
 * meets is ever thrown into the page; nothing in the page waits for it.
 *
 * Kept on the visitor's device, unless consent is denied: a script cookie `hw_tag` with a visitor
 * id and the last click id, until the tracking host's own HTTP cookie is seen to work; and, for the
 * tab alone, ids of what was sent once (`hw_once_*`) and what could not be sent yet (`hw_kept`).
 */
(function (window, document, navigator, location) {
  'use strict';

  var COOKIE = 'hw_tag';
  var KEPT = 'hw_kept';
  var ONCE = 'hw_once_';
  var ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
  var COOKIE_AGE_S = 30 * 86400;
  var KEPT_MAX = 20;
  var RETRY_MS = 5000;
  var RETRIES_MAX = 5;
  // A browser refuses a request that outlives its page when all of them exceed 64 KiB.
  var KEEPALIVE_MAX = 60000;
  var CLICK_FIELDS = ('sub1 sub2 sub3 sub4 sub5 sub6 sub7 sub8 sub9 sub10 shared_id source ' +
    'utm_source utm_medium utm_campaign utm_term utm_content external_click_id').split(' ');
  var PERSONAL = ('visitor_id customer_id profile_id email email_sha256 email_sha1 phone ' +
    'phone_sha256 device_id external_click_id').split(' ');

  var queue = window.headwater;
  var script = document.currentScript;
  if ((queue && queue.live) || !script || !window.fetch || !window.URLSearchParams) return;
  var settings = script.dataset;
  if (!settings.program) return;
  var base = (settings.host || script.src.replace(/\/tag\.[^/]*$/, '')).replace(/\/+$/, '');
  var query = new URLSearchParams(location.search);
  var consent = settings.consent;
  var landed = clickId(query.get(settings.clickParam || 'click_id'));
  var visitor = '';
  var identity = {};
  var kept = [];
  var retries = 0;
  var timer = 0;
  var leaving = false;
  var turn = Promise.resolve();

  function attempt(work) {
    try {
      return work();
    } catch (error) { /* Whatever it was: the page goes on. */ }
  }

  function assign(target) {
    for (var i = 1; i < arguments.length; i++) {
      for (var name in arguments[i]) target[name] = arguments[i][name];
    }
    return target;
  }

  function clickId(text) {
    return /^clk_[0-7][0-9a-hjkmnp-tv-z]{25}$/.test(text) ? text : '';
  }

  function randomId() {
    var bytes = window.crypto.getRandomValues(new Uint8Array(26));
    var text = '';
    for (var i = 0; i < 26; i++) text += ALPHABET[bytes[i] & (i ? 31 : 7)];
    return text;
  }

  function isDenied() {
    return navigator.globalPrivacyControl === true || navigator.doNotTrack === '1' ||
      consent === 'denied';
  }

  function isReload() {
    var entry = (performance.getEntriesByType('navigation') || [])[0];
    return !!entry && entry.type !== 'navigate';
  }

  // ---- What is kept on the device ----------------------------------------------------------

  function readCookie() {
    var match = attempt(function () {
      return /(?:^|; )hw_tag=([0-9a-z]{26})\.([0-9a-z_]*)/.exec(document.cookie);
    });
    return match ? { visitor: match[1], click: clickId(match[2]) } : null;
  }

  /* On the widest domain the browser lets it: a checkout may be on a sibling of the shop. */
  function writeCookie(value, ageS) {
    attempt(function () {
      var labels = location.hostname.split('.');
      var end = '; path=/; samesite=lax; max-age=' + ageS +
        (location.protocol === 'https:' ? '; secure' : '');
      for (var i = labels.length - 2; i >= 0; i--) {
        var domain = '; domain=' + labels.slice(i).join('.');
        document.cookie = COOKIE + '=' + value + domain + end;
        if (ageS && readCookie()) return;
      }
      document.cookie = COOKIE + '=' + value + end;
    });
  }

  function remember(click) {
    var held = readCookie();
    visitor = (held && held.visitor) || visitor || randomId();
    writeCookie(visitor + '.' + click, COOKIE_AGE_S);
  }

  function forget() {
    if (readCookie()) writeCookie('', 0);
    visitor = '';
    identity = {};
    kept = [];
    attempt(function () {
      for (var i = sessionStorage.length - 1; i >= 0; i--) {
        var name = sessionStorage.key(i);
        if (name === KEPT || name.indexOf(ONCE) === 0) sessionStorage.removeItem(name);
      }
    });
  }

  /* The same id whenever the same is sent again in this tab: a reload counts nothing twice. */
  function onceId(text) {
    for (var i = 0, one = 5381, two = 52711; i < text.length; i++) {
      one = (one * 33) ^ text.charCodeAt(i);
      two = (two * 31) ^ text.charCodeAt(i);
    }
    var name = ONCE + (one >>> 0).toString(36) + (two >>> 0).toString(36);
    var id = attempt(function () { return sessionStorage.getItem(name); }) || randomId();
    attempt(function () { sessionStorage.setItem(name, id); });
    return id;
  }

  // ---- Sending -----------------------------------------------------------------------------

  /* The event with what is known of the visitor; with consent denied the URL's click id alone. */
  function complete(type, fields) {
    var event = assign({}, fields, { type: type, program: settings.program });
    if (query.get('hw_test') === '1') event.test = true;
    if (isDenied()) {
      PERSONAL.forEach(function (name) { delete event[name]; });
      event.consent = 'denied';
      if (landed && !event.click_id) event.click_id = landed;
      return event;
    }
    if (consent) event.consent = consent;
    var held = readCookie();
    var click = landed || (held && held.click);
    if (click && !event.click_id && type !== 'click') event.click_id = click;
    if (held || visitor) event.visitor_id = visitor || held.visitor;
    if (held) event.cookie_origin = 'js';
    return event;
  }

  function post(event, done) {
    var body = JSON.stringify(event);
    var address = base + '/v1/collect';
    var denied = event.consent === 'denied';
    if (leaving && !denied && attempt(function () {
      return navigator.sendBeacon(address, body);
    })) return done({ ok: true });
    attempt(function () {
      fetch(address, {
        method: 'POST',
        body: body,
        keepalive: body.length < KEEPALIVE_MAX,
        credentials: denied && event.type !== 'consent' ? 'omit' : 'include'
      }).then(function (response) {
        if (response.status === 429 || response.status >= 500) return keep(event, done);
        return response.json().then(function (answer) {
          attempt(function () { received(event, answer); });
          done(assign({ ok: response.ok }, answer));
        });
      }).catch(function () { failed(event, done); });
    });
  }

  function received(event, answer) {
    retries = 0;
    if (event.type === 'click' && clickId(answer.click_id)) landed = answer.click_id;
    if (event.type === 'conversion' && answer.pixels) whenLoaded(answer.pixels);
    if (answer.cookie === 'denied' && !event.consent) consent = 'denied';
    if (isDenied()) return forget();
    var held = readCookie();
    if (answer.cookie === 'http') {
      if (held) writeCookie('', 0);
    } else if (held) {
      writeCookie(held.visitor + '.' + (landed || held.click), answer.cookie_age_s || COOKIE_AGE_S);
    }
  }

  /* Partners' pixels come after the page: what is fetched earlier holds its load event back. */
  function whenLoaded(pixels) {
    if (document.readyState === 'complete') pixels.forEach(fire);
    else addEventListener('load', function () { pixels.forEach(fire); });
  }

  /* A frame is a stranger's: no way to the page, its origin, its forms or its top. */
  function fire(pixel) {
    if (isDenied() || !/^https?:/.test(pixel.url)) return;
    attempt(function () {
      var element = pixel.type === 'image' ? new Image() : document.createElement('iframe');
      element.referrerPolicy = 'origin';
      if (pixel.type === 'iframe') {
        element.sandbox = 'allow-scripts';
        element.hidden = true;
        document.body.appendChild(element);
      }
      element.src = pixel.url;
    });
  }

  /* A conversion that could not be posted, by a policy or a blocker perhaps, goes as an image. */
  function failed(event, done) {
    if (event.type !== 'conversion' || navigator.onLine === false) return keep(event, done);
    var image = new Image();
    image.onload = function () { done({ ok: true }); };
    image.onerror = function () { keep(event, done); };
    image.src = base + '/px.gif?' + flat(event);
  }

  function flat(event) {
    var pairs = new URLSearchParams();
    for (var name in event) {
      if (typeof event[name] !== 'object' && name !== 'type') pairs.set(name, event[name]);
    }
    (event.items || []).slice(0, 20).forEach(function (item, i) {
      var names = { sku: 'sku', qty: 'quantity', amt: 'subtotal', cat: 'category', name: 'name' };
      for (var short in names) {
        if (item[names[short]] !== undefined) pairs.set(short + (i + 1), item[names[short]]);
      }
    });
    return pairs.toString();
  }

  function keep(event, done) {
    kept.push([event, done]);
    kept = kept.slice(-KEPT_MAX);
    save();
    if (!timer && retries < RETRIES_MAX) {
      timer = setTimeout(resend, RETRY_MS * Math.pow(2, retries++));
    }
  }

  function save() {
    attempt(function () {
      var events = kept.map(function (entry) { return entry[0]; });
      if (events.length && !isDenied()) sessionStorage.setItem(KEPT, JSON.stringify(events));
      else sessionStorage.removeItem(KEPT);
    });
  }

  function resend() {
    var entries = kept;
    clearTimeout(timer);
    timer = 0;
    kept = [];
    save();
    entries.forEach(function (entry) { post(entry[0], entry[1]); });
  }

  function nothing() {}

  /* One after the other, in the order of the calls: hashing takes a moment. */
  function send(type, fields, done) {
    turn = turn.then(function () {
      return hashed(fields);
    }).then(function (ready) {
      if (type === 'identify') {
        if (isDenied()) return;
        identity = ready;
      }
      if (type === 'conversion') ready = assign({}, identity, ready);
      var event = complete(type, ready);
      if (type === 'conversion' && !event.order_id) {
        if (event.consent === 'denied' && isReload()) return;
        event.event_id = event.consent === 'denied' ? randomId()
          : onceId(location.pathname + location.search + JSON.stringify(ready));
      }
      post(event, function (answer) {
        if (typeof done === 'function') attempt(function () { done(answer); });
      });
    }).catch(nothing);
  }

  /* An address is hashed here; where the page is not secure there is no hash, and nothing goes. */
  function hashed(fields) {
    var email = String(fields.email || '').trim().toLowerCase();
    var ready = assign({}, fields);
    delete ready.email;
    var subtle = window.crypto && window.crypto.subtle;
    if (!email || !subtle || isDenied()) return ready;
    return subtle.digest('SHA-256', new TextEncoder().encode(email)).then(function (digest) {
      ready.email_sha256 = Array.from(new Uint8Array(digest), function (byte) {
        return (byte + 256).toString(16).slice(1);
      }).join('');
      return ready;
    });
  }

  // ---- Calls -------------------------------------------------------------------------------

  var commands = {
    page: function () {
      send('page', { url: location.href, referrer: document.referrer });
    },
    identify: function (fields) {
      if (!isDenied()) send('identify', fields || {});
    },
    trackConversion: function (event, fields, options) {
      send('conversion', assign({ url: location.href }, fields, { event: event }),
        options && options.callback);
    },
    consent: function (value) {
      if (value !== 'granted' && value !== 'denied') return;
      var was = isDenied();
      consent = value;
      if (isDenied()) forget();
      else if (was) landing();
      if (!was && isDenied()) send('consent', {});
    }
  };

  /* The page's own address tells of a click: one that was counted, or one to be reported. */
  function landing() {
    var link = query.get('hw_link');
    var partner = query.get('hw_partner');
    if (!landed && !link && !partner) return;
    if (!isDenied()) remember(landed);
    if (landed) return commands.page();
    if (isDenied() && isReload()) return;
    var click = { referrer: document.referrer };
    if (link) click.link = link;
    if (partner) click.partner = partner;
    CLICK_FIELDS.forEach(function (name) {
      if (query.get(name)) click[name] = query.get(name);
    });
    click.event_id = isDenied() ? randomId() : onceId(location.search);
    send('click', click);
  }

  function headwater(name) {
    var rest = [].slice.call(arguments, 1);
    attempt(function () {
      if (commands.hasOwnProperty(name)) commands[name].apply(null, rest);
    });
  }

  headwater.live = true;
  window.headwater = headwater;
  addEventListener('online', resend);
  addEventListener('pagehide', function () { leaving = true; });
  addEventListener('pageshow', function () { leaving = false; });
  ((queue && queue.q) || []).forEach(function (call) { headwater.apply(null, call); });
  attempt(landing);
  attempt(function () {
    if (isDenied()) return forget();
    JSON.parse(sessionStorage.getItem(KEPT) || '[]').forEach(function (event) {
      post(event, nothing);
    });
    save();
  });
})(window, document, navigator, location);
