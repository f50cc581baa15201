// The program of the stepper page. It draws what Python recorded (see stepper.py) and computes
// nothing about gradients itself: every number on the page is one of `data.arrays`.
//
// It lives in a shadow root, so that several steppers, and whatever page they are in, do not
// disturb each other. The light children of the host (picture, tables) are what is seen without it.
(() => {
  "use strict";
  const host = document.currentScript.parentElement;
  if (host.shadowRoot) return;
  const part = (type) => host.querySelector(`script[type="${type}"]`).textContent;
  const data = JSON.parse(part("application/json"));
  const { nodes, steps, views, arrays, sources } = data;
  const root = host.attachShadow({ mode: "open" });

  // --- making elements ---------------------------------------------------------------------------

  const SVG = new Set(["svg", "g", "path", "rect", "text", "title", "defs", "marker"]);

  function make(tag, attributes = {}, ...children) {
    const element = SVG.has(tag)
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children.flat(9).filter((child) => child != null && child !== false));
    return element;
  }

  const show = (place, ...children) => place.replaceChildren(...make("div", {}, children).childNodes);

  // --- numbers -----------------------------------------------------------------------------------

  function text(x) {  // the same digits as text.py's `shown`
    x = Number(x);
    if (Number.isNaN(x)) return "NaN";
    const size = Math.abs(x), sign = x < 0 ? "−" : "";
    if (size === Infinity) return sign + "∞";
    if (size === 0) return "0";
    if (size < 0.001 || size >= 1000) return sign + size.toExponential(1);
    return sign + size.toFixed(3 - (size >= 10) - (size >= 100));
  }

  const finite = (array) => array.values.map(Number).filter(Number.isFinite);
  const largest = (...numbers) => Math.max(0, ...numbers.flatMap((n) => finite(arrays[n]).map(Math.abs)));
  const shapeText = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;

  // A heat-map: one table for each pair of the last two axes. Colour says sign and size, and so do
  // the digits in it. `hidden` shows question marks.
  function heatmap(number, { scale = largest(number), hidden = false } = {}) {
    const array = arrays[number];
    const shape = array.corner ?? array.shape;
    const [height, width] = [shape.at(-2) ?? 1, shape.at(-1) ?? 1];
    const outer = shape.slice(0, -2);
    const tables = [];
    for (let start = 0; start < array.values.length; start += height * width) {
      const index = [];
      for (let k = outer.length - 1, rest = start / (height * width); k >= 0; k--) {
        index.unshift(rest % outer[k]);
        rest = Math.floor(rest / outer[k]);
      }
      const rows = [];
      for (let i = 0; i < height; i++) {
        const row = array.values.slice(start + i * width, start + (i + 1) * width);
        rows.push(make("tr", {}, row.map((x) => cell(x, scale, hidden))));
      }
      const name = index.length && array.values.length > height * width ? index.join(", ") : "";
      tables.push(make("table", {}, name && make("caption", {}, `[${name}]`), make("tbody", {}, rows)));
    }
    const notes = [];
    if (!array.values.length) notes.push("no elements");
    if (array.corner) {
      const [low, high, norm] = array.stats.map((x) => (x == null ? "none" : text(x)));
      notes.push(`corner ${shapeText(array.corner)}`, `min ${low}`, `max ${high}`, `norm ${norm}`);
    }
    if (array.nonfinite) notes.push(`${array.nonfinite} NaN or infinite`);
    const columns = Math.min(tables.length, width > 6 ? 1 : Math.ceil(Math.sqrt(tables.length)));
    return make("div", { class: "heat" },
      make("div", { class: "maps", style: `--columns:${Math.max(columns, 1)}` }, tables),
      notes.length > 0 && make("p", { class: "note" }, hidden ? "hidden" : notes.join(" · ")));
  }

  function cell(x, scale, hidden) {
    if (hidden) return make("td", { class: "hidden" }, "?");
    const value = Number(x);
    const strength = Number.isFinite(value) && scale > 0 ? Math.abs(value) / scale : 0;
    const kind = Number.isFinite(value) ? (value < 0 ? "minus" : "plus") : "odd";
    return make("td", { class: kind, style: `--s:${Math.round(strength * 100)}%`, title: String(x) }, text(x));
  }

  const card = (heading, number, options = {}, ...more) =>
    make("div", { class: `card ${options.class ?? ""}` },
      make("h4", {}, heading, make("small", {}, " ", shapeText(arrays[number].shape))),
      heatmap(number, options), more);

  // --- what can be stepped through ---------------------------------------------------------------

  const arrivals = nodes.map(() => 0);
  for (const step of steps) arrivals[step.source]++;
  const uses = nodes.map(() => []);  // forward: who uses a node
  for (const [k, node] of nodes.entries()) node.inputs.forEach((source) => uses[source].push(k));

  const moments = [{ phase: "start" }];
  nodes.forEach((node, k) => node.op && moments.push({ phase: "forward", node: k }));
  steps.forEach((step, k) => moments.push({ phase: "backward", step: k }));

  let view, boxOf, visible, at = 0;
  let cutting = false, predicting = false, revealed = true, guess = null;

  function isVisible(moment) {
    if (moment.phase === "start") return true;
    if (moment.phase === "backward") {
      const step = steps[moment.step];
      return boxOf.get(step.op) !== boxOf.get(step.source);
    }
    const box = boxOf.get(moment.node);  // of a folded module only what leaves it
    return !view.boxes[box].module || !uses[moment.node].length
      || uses[moment.node].some((user) => boxOf.get(user) !== box);
  }

  function setView(name) {
    const now = visible?.[at];
    view = views.find((candidate) => candidate.name === name);
    boxOf = new Map(view.boxes.flatMap((box, k) => box.nodes.map((node) => [node, k])));
    visible = moments.filter(isVisible);
    const order = moments.indexOf(now);
    at = Math.max(0, visible.findLastIndex((moment) => moments.indexOf(moment) <= order));
    slider.max = visible.length - 1;
    viewSelect.value = name;
    drawGraph();
    render();
  }

  function go(to) {
    const target = Math.min(Math.max(to, 0), visible.length - 1);
    if (target !== at) cutting = false;
    at = target;
    revealed = !predicting;
    guess = null;
    render();
  }

  const find = (test) => visible.findIndex(test);
  const backwardOf = (node) => find((m) => m.phase === "backward" && steps[m.step].op === node);
  const forwardOf = (node) => find((m) => m.phase === "forward" && m.node === node);
  const stepAt = (k) => find((m) => m.phase === "backward" && m.step === k);

  // --- the fixed parts of the page ---------------------------------------------------------------

  const button = (label, name, onclick, more = {}) =>
    make("button", { type: "button", "aria-label": name, title: name, onclick, ...more }, label);
  const first = button("|◀", "First step (Home)", () => go(0));
  const back = button("◀ Back", "Step back (left arrow)", () => go(at - 1));
  const next = button("Step ▶", "Step forward (right arrow)", () => go(at + 1), { class: "main" });
  const last = button("▶|", "Last step (End)", () => go(visible.length - 1));
  const slider = make("input", { type: "range", min: 0, "aria-label": "Step", oninput: () => go(Number(slider.value)) });
  const jump = button("⇅", "Jump between the forward and the backward step of this op", () => {
    const moment = visible[at];
    go(moment.phase === "forward" ? backwardOf(moment.node)
      : moment.phase === "backward" ? forwardOf(steps[moment.step].op) : 1);
  });
  const position = make("span", { class: "position" });
  const toggle = (label, onchange) => {
    const box = make("input", { type: "checkbox", onchange: () => onchange(box.checked) });
    return make("label", {}, box, label);
  };
  const predict = toggle("Predict first", (on) => { predicting = on; revealed = !on; guess = null; render(); });
  const cut = toggle("✂ Cut this edge", (on) => { cutting = on; render(); });
  const viewNames = { "": "all modules folded", "*": "everything open" };
  const viewSelect = make("select", { "aria-label": "Open a module", onchange: () => setView(viewSelect.value) },
    views.map((v) => make("option", { value: v.name }, viewNames[v.name] ?? `open ${v.name}`)));
  const sentence = make("p", { class: "sentence", "aria-live": "polite" });
  const graph = make("div", { class: "graph", tabindex: 0, role: "group", "aria-label": "Graph" });
  const panels = make("div", { class: "panels" });

  root.append(
    make("style", {}, part("text/css")),
    make("section", { class: "stepper", "aria-label": data.title },
      make("h2", {}, data.title),
      make("div", { class: "bar" },
        make("div", { class: "keys" }, first, back, next, last, jump), slider, position,
        make("div", { class: "modes" }, predict, cut, views.length > 1 && viewSelect)),
      sentence,
      make("div", { class: "columns" }, graph, panels)));

  // --- the graph ---------------------------------------------------------------------------------

  let boxes = [], edges = new Map();

  function curve(points) {
    let d = `M${points[0]} ${points[1]}`;
    for (let k = 2; k < points.length; k += 2) {
      const [x0, y0, x1, y1] = points.slice(k - 2, k + 2);
      const middle = (y0 + y1) / 2;
      d += `C${x0} ${middle} ${x1} ${middle} ${x1} ${y1}`;
    }
    return d;
  }

  function drawGraph() {
    const pad = 14;
    const arrow = (id) => make("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
      make("path", { d: "M0 0 8 4 0 8z" }));
    edges = new Map(view.edges.map(([op, argument, ...points]) => [`${op}.${argument}`,
      make("path", { d: curve(points), class: "edge" })]));
    boxes = view.boxes.map((box) => {
      const [x, y, w, h] = box.at;
      const kind = box.module ? "module" : nodes[box.nodes[0]].kind;
      const badge = make("text", { class: "badge", x: w / 2 - 2, y: -h / 2 - 4 });
      const group = make("g", { class: `box ${kind}`, transform: `translate(${x} ${y})`, onclick: () => choose(box) },
        make("title", {}, box.module ? `Open ${box.module}` : `${box.title} ${box.subtitle}`),
        make("rect", { x: -w / 2, y: -h / 2, width: w, height: h, rx: 7 }),
        make("text", { class: "name", y: -3 }, box.title),
        make("text", { class: "small", y: 13 }, box.subtitle), badge);
      return { group, badge };
    });
    const width = view.width + 2 * pad, height = view.height + 2 * pad;
    graph.replaceChildren(make("svg", { viewBox: `${-pad} ${-pad} ${width} ${height}`, width, height, style: `--height:${height}px`, "aria-hidden": "true" },
      make("defs", {}, arrow("head")), [...edges.values()], boxes.map((box) => box.group)));
  }

  function choose(box) {
    if (box.module) return setView(box.module);
    const node = box.nodes[0];
    const backward = visible[at].phase === "backward";
    const arriving = find((m) => m.phase === "backward" && steps[m.step].source === node);
    const target = backward || !nodes[node].op ? arriving : forwardOf(node);
    if (target >= 0) go(target);
  }

  function light(moment) {
    const arrived = nodes.map(() => 0);
    const done = moment.phase === "backward" ? moment.step : -1;
    for (let k = 0; k <= done; k++) arrived[steps[k].source]++;
    const sent = new Set(steps.slice(0, done + 1).map((step) => `${step.op}.${step.argument}`));
    const active = new Set(moment.phase === "forward"
      ? nodes[moment.node].inputs.map((_, k) => `${moment.node}.${k}`)
      : moment.phase === "backward" ? [`${steps[done].op}.${steps[done].argument}`] : []);
    const lost = cutting ? new Set(Object.keys(steps[done].cut).map(Number)) : new Set();
    const term = new Map(steps.map((step) => [`${step.op}.${step.argument}`,
      arrivals[step.source] > 1 ? Math.min(step.arrival, 4) : 0]));
    for (const [key, path] of edges) {
      const on = active.has(key);
      path.setAttribute("class", ["edge", on && "on", moment.phase, sent.has(key) && "sent",
        term.get(key) && `term term${term.get(key)}`, on && cutting && "cut",
        !term.has(key) && "constant"].filter(Boolean).join(" "));
      path.setAttribute(moment.phase === "backward" ? "marker-start" : "marker-end", "url(#head)");
      path.removeAttribute(moment.phase === "backward" ? "marker-end" : "marker-start");
      if (on) path.parentNode.insertBefore(path, boxes[0].group);
    }
    const focus = moment.phase === "forward" ? moment.node : moment.phase === "backward" ? steps[done].source : -1;
    view.boxes.forEach((box, k) => {
      const { group, badge } = boxes[k];
      const wanted = box.nodes.reduce((sum, node) => sum + arrivals[node], 0);
      const got = box.nodes.reduce((sum, node) => sum + arrived[node], 0);
      group.classList.toggle("focus", box.nodes.includes(focus));
      group.classList.toggle("lost", box.nodes.some((node) => lost.has(node)));
      badge.textContent = moment.phase !== "backward" || !wanted || !got ? ""
        : got === wanted ? "∂ ✓" : `∂ ${got} of ${wanted}`;
    });
    const box = boxOf.get(focus);
    if (box !== undefined) {  // bring it into sight without moving the page
      const svg = graph.firstChild, [, y, , h] = view.boxes[box].at;
      const top = (y / svg.viewBox.baseVal.height) * svg.getBoundingClientRect().height;
      if (top - h < graph.scrollTop || top + 2 * h > graph.scrollTop + graph.clientHeight)
        graph.scrollTop = top - graph.clientHeight / 2;
    }
  }

  // --- panels ------------------------------------------------------------------------------------

  const panel = (heading, ...content) => make("section", { class: "panel" }, heading && make("h3", {}, heading), content);
  const name = (k) => nodes[k].name;
  const grad = (k) => `∂L/∂${name(k)}`;

  function render() {
    const moment = visible[at];
    slider.value = at;
    first.disabled = back.disabled = at === 0;
    next.disabled = last.disabled = at === visible.length - 1;
    const step = moment.phase === "backward" ? steps[moment.step] : null;
    cut.firstChild.disabled = !step?.cut;
    if (!step?.cut) cutting = false;
    cut.firstChild.checked = cutting;
    const phase = { start: "start", forward: "forward", backward: "backward" }[moment.phase];
    position.textContent = `${phase} · step ${at} of ${visible.length - 1}`;
    slider.setAttribute("aria-valuetext", position.textContent);
    sentence.textContent = say(moment, step);
    light(moment);
    panels.replaceChildren(...(step ? backwardPanels(step, moment.step)
      : moment.phase === "forward" ? forwardPanels(moment.node) : startPanels()));
  }

  function say(moment, step) {
    if (moment.phase === "start") {
      return `${moments.filter((m) => m.phase === "forward").length} ops forward, then ${steps.length} gradient contributions backward, one edge at a time. Step with the arrow keys.`;
    }
    if (moment.phase === "forward") {
      const node = nodes[moment.node];
      const many = arrivals[moment.node] > 1
        ? ` It is used ${arrivals[moment.node]} times, so ${arrivals[moment.node]} gradients will come back to it.` : "";
      return `Forward: ${node.op} makes ${node.name} ${shapeText(arrays[node.value].shape)} from ${node.inputs.map(name).join(", ")}.${many}`;
    }
    const of = arrivals[step.source];
    const order = of === 1 ? "its only gradient: complete."
      : `gradient ${step.arrival} of ${of} (${step.role}). ` + (step.arrival === of ? "Now all have arrived, and their sum is complete."
        : `${of - step.arrival} more on the way.`);
    return `Backward: ${nodes[step.op].op} gives ${name(step.source)} ${order}${revealed ? "" : " Predict it."}`;
  }

  function startPanels() {
    const several = nodes.map((_, k) => k).filter((k) => arrivals[k] > 1);
    const ledgers = several.slice(0, 12).map((k, i) => {
      const terms = steps.map((step, s) => [step, s]).filter(([step]) => step.source === k);
      return [
        make("p", {}, make("b", {}, name(k)), ` is used ${terms.length} times, so its gradient is a sum. Go to `,
          terms.map(([step, s], j) => [j ? " or " : "",
            button(step.role, `Go to this contribution: ${step.role}`, () => stepAt(s) >= 0 && go(stepAt(s)),
              { class: `term term${Math.min(step.arrival, 4)}` })])),
        i < 1 && ledger(k, steps.length)];
    });
    return [
      data.lead && panel("", make("p", {}, data.lead)),
      panel(ledgers.length ? "Where several gradients meet" : "What happens here",
        ledgers.length ? ledgers
          : make("p", {}, "Every tensor here is used once, so every gradient arrives in one piece."),
        several.length > 12 && make("p", { class: "note" }, `and ${several.length - 12} more`)),
      panel("How to read it",
        make("p", {}, "An op takes the gradient of its output and passes on a contribution to each of its inputs. ",
          "What arrives at a tensor is added up in its ledger; when all has arrived, its own op may go on."),
        make("p", {}, make("kbd", {}, "←"), " ", make("kbd", {}, "→"), " step, ", make("kbd", {}, "Home"), " ",
          make("kbd", {}, "End"), " jump. Click a box to go there. ",
          make("b", {}, "Predict first"), " hides each result until you have made a guess. ",
          make("b", {}, "Cut this edge"), " shows which gradients go wrong without one contribution.")),
    ].filter(Boolean);
  }

  function forwardPanels(k) {
    const node = nodes[k];
    return [
      panel("Forward", make("p", { class: "rule" }, node.formula),
        make("p", { class: "where" }, bindings(node, k)),
        make("div", { class: "cards" },
          node.inputs.map((source, i) => card(name(source), nodes[source].value, {}, make("p", { class: "note" }, node.parameters[i]))),
          card(node.name, node.value, { class: "result" }, make("p", { class: "note" }, "result")))),
      sourcePanel(node),
    ];
  }

  const bindings = (node, k) => [...node.parameters.map((p, i) => `${p} = ${name(node.inputs[i])}`), `y = ${name(k)}`].join(",  ");

  function backwardPanels(step, number) {
    const node = nodes[step.op];
    const hidden = !revealed;
    return [
      panel("This contribution", make("p", { class: "rule" }, step.equation),
        make("p", { class: "where" }, `${step.rule},  where ${bindings(node, step.op)}`),
        make("div", { class: "cards" },
          card(grad(step.op), step.gradient, {}, make("p", { class: "note" }, "gradient in, dy")),
          step.operands.map(([symbol, k]) => card(name(k), nodes[k].value, {}, make("p", { class: "note" }, `value, ${symbol}`))),
          make("span", { class: "symbol" }, "→"),
          card(`to ${name(step.source)}`, step.value, { hidden, class: "result" }, make("p", { class: "note" }, "contribution"))),
        shapes(step), predicting && prediction(step)),
      cutting && cutPanel(step),
      panel(`Ledger of ${name(step.source)}: ${step.arrival} of ${arrivals[step.source]} arrived`,
        ledger(step.source, number, hidden), openLedgers(step.source, number)),
      sourcePanel(node),
    ].filter(Boolean);
  }

  // u.grad = [scale path] + [squeeze path] = [so far], after step `number`
  function ledger(k, number, hidden = false) {
    const terms = steps.map((term, s) => [term, s]).filter(([term]) => term.source === k);
    if (terms.length === 1) return make("p", {}, make("span", { class: "symbol" }, `${name(k)}.grad = `), "this contribution, the only one.");
    const scale = largest(...terms.map(([term]) => term.value), terms.at(-1)[0].total);
    const content = [make("span", { class: "symbol" }, `${name(k)}.grad =`)];
    let total;
    terms.forEach(([term, s], i) => {
      const kind = `term term${Math.min(term.arrival, 4)}`;
      const now = s === number;
      if (i) content.push(make("span", { class: "symbol" }, "+"));
      if (s > number) {
        content.push(make("div", { class: `card waiting ${kind}` }, make("h4", {}, term.role), make("p", { class: "note" }, "still on its way")));
        return;
      }
      const crossed = now && cutting;
      content.push(card(term.role, term.value, { scale, hidden: hidden && now, class: `${kind} ${now ? "now" : ""} ${crossed ? "crossed" : ""}` },
        crossed && make("p", { class: "note" }, "✂ cut")));
      total = term;
    });
    content.push(make("span", { class: "symbol" }, "="),
      card(total.arrival === terms.length ? "total" : "so far", total.total, { scale, hidden, class: "result" }));
    return make("div", { class: "ledger" }, content);
  }

  function openLedgers(but, number) {
    return nodes.map((_, k) => k).filter((k) => k !== but).map((k) => {
      const got = steps.slice(0, number + 1).filter((s) => s.source === k);
      return got.length > 0 && got.length < arrivals[k] && make("p", { class: "open" }, `Still open: ${name(k)}.grad = `,
        got.map((s) => [make("span", { class: `chip term${Math.min(s.arrival, 4)}` }, s.role), " + "]),
        `${arrivals[k] - got.length} more on the way`);
    }).filter(Boolean).slice(0, 4);
  }

  function prediction(step) {
    const array = arrays[step.value];
    if (!array.values.length) return null;
    const place = `[${(array.corner ?? array.shape).map(() => 0).join(", ")}]`;
    if (revealed) {
      if (guess === null) return make("p", { class: "verdict" }, "Revealed.");
      const off = Math.abs(guess - Number(array.values[0]));
      return make("p", { class: "verdict", role: "status" }, `You said ${text(guess)}, it is ${text(array.values[0])}: off by ${text(off)}.`);
    }
    const input = make("input", { type: "number", step: "any", "aria-label": `Your prediction of element ${place}` });
    return make("form", { class: "predict", onsubmit: (event) => {
      event.preventDefault();
      guess = input.value === "" ? null : Number(input.value);
      revealed = true;
      render();
    } }, make("label", {}, `Element ${place} of the contribution will be `, input), make("button", { type: "submit" }, "Reveal"));
  }

  function shapes(step) {
    const marked = (shape, axes, label) => [
      "(", shape.map((n, k) => [k ? ", " : "", axes.includes(k) ? make("mark", { title: label }, String(n)) : String(n)]), shape.length === 1 ? ",)" : ")"];
    const from = arrays[step.gradient].shape, to = arrays[step.value].shape;
    const notes = [];
    if (step.repeated.length) notes.push(`the op repeated this input along the marked axes, so backward sums over them (Σ)`);
    if (step.reduced.length) notes.push(`the op made one number of the marked axes, so backward spreads over them (×)`);
    return make("p", { class: "shapes" }, "Shapes: dy ", marked(from, step.repeated, "summed"),
      step.repeated.length ? " Σ→ " : step.reduced.length ? " ×→ " : " → ", marked(to, step.reduced, "repeated"),
      notes.length > 0 && make("span", { class: "note" }, " " + notes.join("; ")));
  }

  function cutPanel(step) {
    const changed = Object.entries(step.cut);
    const leaves = nodes.map((_, k) => k).filter((k) => !nodes[k].op && arrivals[k]);
    const same = leaves.filter((k) => !(k in step.cut));
    return panel(`Without this edge: ${changed.length} of ${leaves.length} gradients are wrong`,
      changed.map(([k, wrong]) => {
        const right = steps.filter((s) => s.source === Number(k)).at(-1).total;
        const scale = largest(right, wrong);
        const gone = finite(arrays[wrong]).every((x) => x === 0);
        return make("div", { class: "cards" }, make("span", { class: "symbol" }, `${name(k)}.grad`),
          card("right", right, { scale }), make("span", { class: "symbol" }, "≠"),
          card(gone ? "without: nothing arrives" : "without", wrong, { scale, class: "lost" }));
      }),
      same.length > 0 && make("p", { class: "note" }, `Unchanged: ${same.map(name).join(", ")}`));
  }

  function sourcePanel(node) {
    const block = (label, number) => number != null && [
      make("h4", {}, label, make("small", {}, " ", sources[number].place)), make("pre", { tabindex: 0 }, sources[number].lines)];
    return make("details", { class: "panel", open: sourceOpen, ontoggle: (event) => { sourceOpen = event.target.open; } },
      make("summary", {}, `The lines that ran: ${node.op}`, make("small", {}, node.path && ` in ${node.path}`)),
      make("p", { class: "note" }, `${node.formula}   ⇒   ${node.derivative}`),
      block("forward", node.forward), block("backward", node.backward));
  }
  let sourceOpen = false;

  // --- keys and theme ----------------------------------------------------------------------------

  const keys = { ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), Home: () => go(0), End: () => go(visible.length - 1) };
  function onKey(event) {
    const target = event.composedPath()[0];
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.tagName === "SELECT" || target.type === "number") return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }
  root.addEventListener("keydown", onKey);
  // Alone on a page, keys work wherever the focus is.
  if (document.querySelectorAll(".minise-trace").length === 1 && host.parentElement.tagName === "MAIN")
    document.addEventListener("keydown", (event) => event.target === document.body && onKey(event));

  // JupyterLab and VS Code have themes of their own; elsewhere the system's setting counts.
  const theme = () => {
    const { jpThemeLight, vscodeThemeKind = "" } = document.body.dataset;
    const dark = jpThemeLight ? jpThemeLight === "false" : vscodeThemeKind ? /dark/.test(vscodeThemeKind) : null;
    if (dark === null) host.removeAttribute("data-theme");
    else host.setAttribute("data-theme", dark ? "dark" : "light");
  };
  theme();
  new MutationObserver(theme).observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"] });

  setView(views[0].name);
})();
