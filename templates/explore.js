// The explorer: other days, other periods, other people than the page was drawn with. reports/explore.py packs the data
// and computes the same rows; reports/charts.py and reports/views.py draw and say the first view, which stays as it is
// until something is chosen. Nodes are made one by one: the page's policy forbids markup from text.
(() => {
  const get = s => document.querySelector(".explorer " + s);
  const data = JSON.parse(get("script").textContent);
  const form = get("form"), more = get("details"), box = get(".scroll"), button = get("button");
  const DAY = 864e5, WAYS = ["sent", "received"], COUNTS = ["messages", "segments", "credits"];
  const NAMES = {member: "members", inbox: "shared inboxes", unassigned: "unassigned"};
  const plus = (a, b) => a.map((n, i) => n + b[i]);
  const sum = values => values.reduce((a, n) => a + n, 0);

  // The packed form: see explore.pack.
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const none = Array(data.days).fill(0);
  const series = data.series.map(([kind, id, name, people, ...texts]) => {
    const days = [];
    for (let k = 0; k < 6; k++) {
      const values = [...none];
      let at = 0;
      for (const [, run, digits] of (texts[k] || "").matchAll(/(\.?)([g-z0-9_-]*[A-Za-f])/g)) {
        const n = [...digits].reduceRight((n, d) => n * 32 + DIGITS.indexOf(d) % 32, 0);
        if (run) at += n;
        else values[at++] = n % 2 ? -(n + 1) / 2 : n / 2;
      }
      days.push(plus(values, days[k - 2] || none));
    }
    return {kind, id, name, people, days};
  });
  const states = data.states.replace(/(\D)(\d+)/g, (_, state, run) => state.repeat(run));

  // Days are counted from the first one.
  const zero = Date.parse(data.first);
  const date = i => new Date(zero + i * DAY);
  const iso = i => date(i).toISOString().slice(0, 10);
  const at = day => (Date.parse(day) - zero) / DAY;
  const year = i => date(i).getUTCFullYear();
  const index = i => year(i) * 12 + date(i).getUTCMonth();
  const short = i => date(i).toUTCString().slice(8, 11) + "\xa0" + date(i).getUTCDate();
  const week = i => {
    const thursday = i + 3 - (date(i).getUTCDay() + 6) % 7, y = year(thursday);
    return y + "-W" + `${Math.floor((zero / DAY + thursday - Date.UTC(y) / DAY) / 7) + 1}`.padStart(2, 0);
  };
  const between = (a, b) => (a === b ? date(a).toUTCString().slice(0, 5)
    : short(a) + (year(a) === year(b) ? "" : ", " + year(a)) + " – ") + short(b) + ", " + year(b);
  const span = (a, b) => index(a - 1) < index(a) && index(a) === index(b) && index(b) < index(b + 1)
    ? date(a).toLocaleString("en", {month: "long", timeZone: "UTC"}) + "\xa0" + year(a) : between(a, b);

  // Figures as the account's locale writes them.
  const [mark, groups, point] = data.marks;
  const f = n => `${n}`.replace(RegExp(groups, "g"), mark);
  const brief = n => n < 1e5 ? f(n) : n.toLocaleString("en", {notation: "compact"}).replace(".", point);
  const counted = (n, what) => f(n) + " " + (n === 1 ? what.slice(0, -1) : what);
  const capital = text => text[0].toUpperCase() + text.slice(1);

  // A view: its periods, and what everyone shown has in each: [sent, received, both], of which cols are shown.
  let [from, to] = data.shown.map(at), edited;
  const view = () => {
    const [a, b] = from > to ? [edited, edited] : [from, to], all = [];
    const [by, count, show] = ["by", "count", "show"].map(name => form[name].value), way = WAYS.indexOf(show);
    const kind = {members: "member", inboxes: "inbox"}[show], cols = way < 0 ? [0, 1, 2] : [way];
    for (let i = a, p = {}; i <= b; i++) {
      const name = {day: iso(i), week: week(i), month: iso(i).slice(0, 7)}[by];
      if (p.name !== name) all.push(p = {name, start: i, missing: 0, incomplete: 0});
      p.end = i + 1;
      p.missing += states[i] === "u";
      p.incomplete += states[i] === "i";
      p.known = p.missing <= i - p.start;
      p.unsure = p.known && p.missing + p.incomplete;
    }
    for (const p of all) p.label = label(by, p);
    const cut = who => {
      const n = [0, 1].map(way => all.map(p => sum(who.map(s => sum(s.days[COUNTS.indexOf(count) * 2 + way].slice(p.start, p.end))))));
      n.push(way < 0 ? plus(...n) : n[way]);
      return {...who[0], n, total: sum(n[2])};
    };
    const people = series.filter(s => s.kind === kind).map(s => cut([s])).filter(p => p.total)
      .sort((p, q) => !p.id - !q.id || q.total - p.total);
    const parts = Object.keys(NAMES).map(kind => ({...cut(series.filter(s => s.kind === kind)), kind, name: NAMES[kind]}));
    return {a, b, by, count, show, kind, cols, all, people, every: cut(series),
      whole: parts.find(p => p.kind === kind), rest: parts.filter(p => p.kind !== kind && p.total)};
  };

  // Words.
  const quality = all => [["missing", " not loaded, so not counted"], ["incomplete", " estimated"]].flatMap(([name, text]) => {
    const n = sum(all.map(p => p[name]));
    return n ? ". " + counted(n, "days") + text : "";
  }).join("");
  const label = (by, p) => (by === "week" ? `Week ${+p.name.slice(-2)}, ` : "") + (by === "month" ? span : between)(p.start, p.end - 1);
  const caption = v => capital(v.count) + (v.kind ? " of each " + v.kind : v.cols[2] ? "" : " " + v.show) + ` per ${v.by}, UTC` + (v.kind ? ", on one scale, largest first" : "");
  const told = (v, n, and) => counted(n[2], v.count) + (v.cols[2] ? `, ${f(n[0])} sent${and} ${f(n[1])} received` : " " + v.show);
  const sentence = v => {
    const {kind, every, people, count, whole, rest} = v, named = people.filter(p => p.id).length;
    let text = told(v, every.n.map(sum), " and");
    if (kind) {
      text = people[0] ? `${counted(whole.total, count)} across ${f(named)} ${named === 1 ? kind : whole.name}` : `no ${kind} has ${count}`;
      if (people[named]) text += " and others";
      if (rest[0]) text += `; ${rest.map((p, i) => p.name + (i ? " " : " are ") + f(p.total)).join(" and ")} of the account’s ${f(every.total)}`;
    }
    return `${span(v.a, v.b)}: ${v.all.some(p => p.known) ? text + quality(v.all) : "nothing is loaded"}.`;
  };

  // Drawings. A node is a tag with its class, then attributes, children, and lists of both; what is false is left out.
  const make = space => (tag, ...inside) => {
    const [name, kind] = tag.split("."), node = document.createElementNS("http://www.w3.org/" + space, name);
    if (kind) node.setAttribute("class", kind);
    for (const part of inside.flat()) {
      if (part?.constructor === Object) for (const key in part) node.setAttribute(key, part[key]);
      else if (part) node.append(part);
    }
    return node;
  };
  const svg = make("2000/svg"), html = make("1999/xhtml");
  const round = n => +n.toFixed(2);
  const words = (x, y, anchor, text, ...given) => svg("text", {x: round(x) + "%", y, "text-anchor": anchor}, text, given);
  const ticks = largest => {
    for (let size = 1; largest; size *= 10)
      for (const step of [size, 2 * size, 5 * size])
        if (largest <= step * 4) return Array.from({length: largest / step}, (_, i) => (i + 1) * step);
    return [];
  };
  // Bars, and a field where nothing is known. A bar of a pixel is too narrow to point at.
  const bars = (v, {n}, largest, height, given) => {
    const paths = {}, count = v.all.length;
    const add = (kind, x, y, w, h) => paths[kind] = (paths[kind] || "") + `M${round(x)} ${round(y)}h${w}v${round(h)}h-${w}z`;
    v.all.forEach((p, i) => {
      let top = height;
      if (!p.known) add("unknown", i, 0, 1, height);
      for (const way of v.cols) if (WAYS[way] && n[way][i]) {
        const gap = top < height ? 1 : 0, size = Math.max(n[way][i] / largest * height - gap, 1);
        add(WAYS[way] + (p.unsure ? " est" : ""), i + 0.12, top -= gap + size, 0.76, size);
      }
    });
    return svg("svg", {viewBox: `0 0 ${count} ${height}`, height, preserveAspectRatio: "none"}, given, Object.entries(paths).map(([kind, d]) => svg("path." + kind, {d})),
      count < height * 2 && v.all.map((p, i) => svg("rect.hit", {x: i, width: 1, height}, svg("title",
        p.label + ": " + (p.known ? told(v, n.map(values => values[i]), ",") + quality([p]) : "not loaded")))));
  };
  // Measures as in charts.explored: bars from 30 to 206 of 230 pixels.
  const chart = v => {
    const {all, every, by} = v, n = all.length, height = 230, room = 176, odd = data.odd;
    const largest = Math.max(...every.n[2]), values = ticks(largest), y = t => round(206 - room * t / largest);
    const line = (kind, y) => svg("line." + kind, {x2: "100%", y1: y, y2: y});
    const drawn = svg("svg.drawn", {height, role: "img", "aria-label": caption(v)},
      values.map(t => line("grid", y(t))), bars(v, every, largest, room, {y: 30, width: "100%"}), line("base", 206));
    const months = index(v.b) - index(v.a) + 1, step = [1, 2, 3, 6, 12, 24].find(e => months <= 7 * e) || 60;
    const few = by === "day" ? n <= 45 : by === "week" && n <= 7, middle = few || by === "month";
    all.forEach(({start, name}, i) => {
      const x = (i + 0.5) / n * 100, m = index(start), left = x < 60;
      if (few ? by === "week" || n < 8 || date(start).getUTCDay() === 1 && x > 2 && x < 98
        : index(all[i - 1]?.start) !== m && m % step === 0 && (middle || date(start).getUTCDate() < 8 && i / n < 0.94))
        drawn.append(words(middle ? x : i / n * 100, 224, middle ? "middle" : "start", few ? short(start) : m % 12 ? short(start).slice(0, 3) : year(start)));
      if (odd && name === odd[0] && v.count + v.show === "segmentstotal") {
        const cy = Math.max(y(every.n[2][i]) - 10, 10);
        drawn.append(svg("circle", {cx: round(x) + "%", cy, r: 4}), ...["long", "brief"].map((kind, k) =>
          words(x, cy + 4, left ? "start" : "end", odd[k + 1], {class: "a " + kind, dx: left ? 10 : -10})));
      }
    });
    return html("div.plot", svg("svg.axis", {height, "aria-hidden": true}, values.map(t => svg("text", {y: y(t) + 4}, brief(t)))), drawn);
  };
  const tiles = v => {
    const shown = v.people.filter(p => p.id).slice(0, 40), rest = v.people.filter(p => !shown.includes(p)), largest = Math.max(...shown.flatMap(p => p.n[2]));
    return html("div", html("ul.tiles", shown.map(p => html("li", html("p", html("bdi", p.name), html("b", f(p.total))), bars(v, p, largest, 56, {"aria-hidden": true})))),
      rest[0] && html("p.beyond", `and ${f(sum(rest.map(p => p.people)))} more: ${counted(sum(rest.map(p => p.total)), v.count)}`));
  };
  const table = v => {
    const {all, every, people, whole, kind} = v;
    const columns = kind ? [...people.map(p => [p.name, p.n[2]]), ...[{...whole, name: "all " + whole.name}, ...v.rest, {...every, name: "account"}].map(p => [capital(p.name), p.n[2], true])]
      : v.cols.map(k => [capital(WAYS[k] || v.count), every.n[k]]);
    let corner = capital(v.by), top = columns.map(c => c[0]);
    let rows = [...all.map((p, i) => [p.label + (p.known ? quality([p]) : ""), columns.map(c => p.known ? f(c[1][i]) : "–")]), ["Total", columns.map(c => f(sum(c[1]))), true]];
    // Few periods of many people read better with the people downwards.
    if (kind && all.length < columns.length)
      [corner, top, rows] = ["Name", rows.map(r => r[0]), columns.map(([name,, strong], k) => [name, rows.map(r => r[1][k]), strong])];
    const head = (tag, scope, name) => html(tag, {scope}, html("bdi", name));
    return html("table", html("caption.sr", caption(v)), html("thead", html("tr", head("th", "col", corner), top.map(name => head("th.n", "col", name)))),
      html("tbody", rows.map(([name, values, strong]) => html(strong ? "tr.sum" : "tr", head("th", "row", name), values.map(text => html("td", text))))));
  };

  // The CSV: explore.rows, texts neutralised as in the files beside the page.
  const csv = ({kind, cols, count, all, people, every}) => {
    const text = t => (t = t.replace(/^[=+\-@\t\r\n＝＋－＠']/, "'$&"), /[",\r\n]/.test(t) ? `"${t.replace(/"/g, '""')}"` : t);
    return [["period,period_start,period_end_exclusive", kind ? "owner_kind,owner_id,owner_name" : [],
      cols.map(k => WAYS[k] ? count + "_" + WAYS[k] : count), "days,days_missing,days_incomplete"],
    ...all.flatMap((p, i) => (kind ? people : [every]).map(of => [p.name, iso(p.start), iso(p.end), kind ? [kind, text(of.id), text(of.name)] : [],
      cols.map(k => p.known ? of.n[k][i] : ""), p.end - p.start, p.missing, p.incomplete]))].map(line => line.flat().join() + "\r\n").join("");
  };

  const draw = () => {
    const v = view(), head = get("figcaption"), keys = head.lastChild.children;
    head.firstChild.textContent = caption(v);
    [v.show === "received", v.show === "sent", !v.all.some(p => p.unsure), v.all.every(p => p.known)].forEach((hidden, i) => keys[i].hidden = hidden);
    head.parentNode.replaceChildren(head, v.kind ? tiles(v) : chart(v));
    get(".insum").textContent = sentence(v);
    box.replaceChildren(more.open ? table(v) : "");
  };
  const sync = () => {
    if (from > to) from = to = edited;
    form.first.value = iso(from);
    form.last.value = iso(to);
    form.range.value = iso(from) + "/" + iso(to);
    form.range.value ||= "";
  };
  form.addEventListener("change", ({target: {type, name, value, validity}}) => {
    if (!validity.valid) return;
    if (type === "date") edited = at(value);
    if (name === "first") from = edited;
    if (name === "last") to = edited;
    if (name === "range") {
      [from, to] = value.split("/").map(at);
      sync();
    }
    draw();
  });
  // Not while a date is being typed: half of it is a date too.
  form.addEventListener("focusout", ({target}) => target.type === "date" && sync());
  button.addEventListener("click", () => {
    const v = view(), href = URL.createObjectURL(new Blob(["\ufeff", csv(v)], {type: "text/csv"}));
    html("a", {href, download: `${data.account}_${iso(v.a)}_${iso(v.b)}_${v.count}_by_${v.by}_${v.show}.csv`}).click();
  });
  more.addEventListener("toggle", () => more.open && !box.firstElementChild && box.append(table(view())));
  form.hidden = more.hidden = button.hidden = false;
})();
