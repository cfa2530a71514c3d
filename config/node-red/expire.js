// Every second: forgets the events whose time is over. A clock that is set back delays nothing: whichever comes
// first counts, the end by the clock or the seconds that were counted.
const known = flow.get("fadeout");
if (!known) return null;

const now = Date.now();
const forgotten = [];
for (const [name, device] of Object.entries(known.devices)) {
    const ids = [];
    for (const [id, event] of Object.entries(device.events)) {
        event.left -= 1;
        if (event.left <= 0 || event.until <= now) ids.push(id);
    }
    for (const id of ids) delete device.events[id];
    if (ids.length) forgotten.push({ topic: `fadeout/${name}`, payload: { node: name, ids } });
}
flow.set("fadeout", known);
return [forgotten];
