// Takes one message of a fadeout device in: remembers an event, or forgets what was erased and acknowledges.
//
// Outputs: 1 the event, 2 what was forgotten, 3 the acknowledgement. All that is known is in the flow's context
// `fadeout`: { devices: { NAME: { era, n, events: { ID: { action, outcome, until, left } } } } }. It lives in memory
// unless your settings.js says otherwise. docs/contract.md is what this obeys.
const MOST_EVENTS = 1000;
const MOST_DEVICES = 1000;
const LONGEST = 30 * 86400;
const ID = /^[0-9a-v]{16}$/;
const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;
const ACTION = /^[a-z][a-z0-9_.]{0,39}$/;
const ERA = /^[0-9a-v]{8}$/;

const isCount = (value, least) => Number.isSafeInteger(value) && value >= least;
const areIds = (value) => Array.isArray(value) && value.length <= 16 && value.every((id) => typeof id === "string" && ID.test(id));

// What a later version adds is left aside; what cannot be read does not count as said.
function read(payload) {
    let said;
    try {
        said = JSON.parse(payload);
    } catch {
        return null;
    }
    return said !== null && typeof said === "object" && said.v === 1 ? said : null;
}

const [, name, end] = /^fadeout\/([^/]+)\/(.+)$/.exec(msg.topic) || [];
const said = read(msg.payload);
if (said === null || !NAME.test(name)) return null;

const known = flow.get("fadeout") || { devices: {} };
const devices = known.devices;
if (!Object.hasOwn(devices, name)) {
    if (Object.keys(devices).length >= MOST_DEVICES) return null;
    devices[name] = { era: null, n: 0, events: {} };
}
const device = devices[name];

function forget(ids) {
    const gone = ids.filter((id) => Object.hasOwn(device.events, id));
    for (const id of gone) delete device.events[id];
    return gone.length ? { topic: `fadeout/${name}`, payload: { node: name, ids: gone } } : null;
}

let event = null;
let forgotten = null;
let ack = null;
if (end === "event/action" && said.type === "action") {
    const fits = typeof said.id === "string" && ID.test(said.id) && ACTION.test(said.action) && isCount(said.ttl, 1) && said.ttl <= LONGEST;
    if (!fits || !["served", "failed"].includes(said.outcome)) return null;
    // What waited in a queue has less to live than it says.
    const expiry = isCount(msg.messageExpiryInterval, 0) ? msg.messageExpiryInterval : said.ttl;
    const left = Math.min(said.ttl, expiry);
    const isNew = !Object.hasOwn(device.events, said.id);
    delete device.events[said.id]; // the order of arrival is kept
    device.events[said.id] = { action: said.action, outcome: said.outcome, until: Date.now() + left * 1000, left };
    const ids = Object.keys(device.events);
    forgotten = forget(ids.slice(0, Math.max(0, ids.length - MOST_EVENTS)));
    if (isNew) event = { topic: `fadeout/${name}`, payload: { node: name, id: said.id, action: said.action, outcome: said.outcome, left } };
} else if ((end === "erase/notice" && said.type === "erase") || (end === "erase/before" && said.type === "erase_before")) {
    const isNotice = said.type === "erase";
    const first = isNotice ? said.n : said.since;
    if (typeof said.era !== "string" || !ERA.test(said.era) || !isCount(said.n, 0) || !isCount(first, 1) || !areIds(said.ids)) return null;
    // Each notice named at least one event; a watermark of none names none.
    const notices = said.n + 1 - first;
    if (said.ids.length > 0 !== notices > 0 || notices < 0 || notices > said.ids.length) return null;
    const joinsOn = device.era === said.era && first <= device.n + 1;
    // Where notices were missed, or the numbers were begun anew, everything of this device goes.
    forgotten = forget(joinsOn ? said.ids : Object.keys(device.events));
    device.n = joinsOn ? Math.max(device.n, said.n) : said.n;
    device.era = said.era;
    ack = { topic: `fadeout/${name}/erase/ack/${env.get("CONSUMER")}`, payload: { v: 1, era: device.era, n: device.n } };
} else {
    return null;
}
flow.set("fadeout", known);
return [event, forgotten, ack];
