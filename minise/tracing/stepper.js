// The program of the stepper page. It draws what Python recorded (see stepper.py) and computes no
// gradients itself: every number of an array that it shows is one of `arrays`.
//
// It lives in a shadow root, so that several steppers, and whatever page they are in, do not
// disturb each other. The light children of the host (picture, tables) are what is seen without it.
(() => {
  "use strict";
  const host = document.currentScript.parentElement;
  if (host.shadowRoot) return;
  const script = (type) => host.querySelector(`script[type="${type}"]`).textContent;
  const data = JSON.parse(script("application/json"));
  const { nodes, steps, views, arrays, sources } = data;
  const root = host.attachShadow({ mode: "open" });
  const alone = host.matches("body > main > *");  // a page of its own
  const level = alone ? 1 : 2;  // of the heading

  // h("p.note", { title: "..." }, "text", child): an element. Text never becomes markup.
  function h(name, ...parts) {
    const [tag, ...classes] = name.split(".");
    const svg = /^(svg|g|path|rect|text|defs|marker)$/.test(tag);
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    if (classes.length) element.setAttribute("class", classes.join(" "));
    for (const part of parts.flat(9)) {
      if (part == null || part === false) continue;
      if (part instanceof Node || typeof part !== "object") element.append(part);
      else for (const [key, value] of Object.entries(part)) {
        if (typeof value === "function") element.addEventListener(key, value);
        else element.setAttribute(key, value);
      }
    }
    return element;
  }

  // --- numbers -----------------------------------------------------------------------------------

  function digits(x) {  // as `shown` in text.py
    const size = Math.abs(x), sign = x < 0 ? "−" : "";
    if (Number.isNaN(x)) return "NaN";
    if (size === Infinity) return sign + "∞";
    if (size === 0) return "0";
    if (size < 0.001 || size >= 1000) return sign + size.toExponential(1).replace("+", "");
    return sign + size.toFixed(3 - (size >= 10) - (size >= 100));
  }

  const finite = (k) => arrays[k].values.map(Number).filter(Number.isFinite);
  const largest = (...ks) => Math.max(0, ...ks.flatMap(finite).map(Math.abs));
  const tuple = (shape) => `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;

  // A heat-map of array k: one table for each pair of its last two axes. Colour tells sign and
  // size, and so do the digits in it.
  function heat(k, { scale = largest(k), hidden }) {
    const array = arrays[k];
    const shape = array.corner ?? array.shape;
    const height = shape.at(-2) ?? 1, width = shape.at(-1) ?? 1, size = height * width;
    const cell = (x) => {
      if (hidden) return h("td", "?");
      const value = Number(x), strength = Math.round(100 * Math.abs(value) / scale);
      return Number.isFinite(value)
        ? h(value < 0 ? "td.minus" : "td.plus", { style: `--strength:${strength || 0}%`, title: x }, array.integers ? x : digits(value))
        : h("td.odd", digits(value));
    };
    const tables = [];
    for (let start = 0; start < array.values.length; start += size) {
      const index = [];
      for (let axis = shape.length - 3, rest = start / size; axis >= 0; axis--) {
        index.unshift(rest % shape[axis]);
        rest = Math.floor(rest / shape[axis]);
      }
      const rows = [];
      for (let i = start; i < start + size; i += width) rows.push(h("tr", array.values.slice(i, i + width).map(cell)));
      tables.push(h("table", array.values.length > size && h("caption", `[${index.join(", ")}]`), h("tbody", rows)));
    }
    const columns = width > 6 ? 1 : Math.ceil(Math.sqrt(tables.length)) || 1;
    const [low, high, norm] = (array.stats ?? []).map((x) => (x == null ? "none" : digits(x)));
    const notes = [!tables.length && "no elements", array.nonfinite && `${array.nonfinite} NaN or infinite`,
      array.corner && !hidden && `first ${tuple(array.corner)} of it · min ${low} · max ${high} · norm ${norm}`];
    return [h("div.maps", { style: `--columns:${columns}` }, tables), notes.filter(Boolean).map((note) => h("p.note", note))];
  }

  // Long rows scroll sideways, which the keyboard has to be able to do.
  const card = (kind, heading, k, options = {}, note) => h(`div.card${kind}`, (arrays[k].corner ?? arrays[k].shape).at(-1) > 6 && { tabindex: 0 },
    h("div.head", heading, h("small", ` ${tuple(arrays[k].shape)}`)), heat(k, options), note && h("p.note", note));
  const symbol = (text) => h("span.symbol", text);

  // --- what there is to step through -------------------------------------------------------------

  const name = (k) => nodes[k].name;
  const indices = [...nodes.keys()];
  const into = indices.map((k) => steps.filter((step) => step.source === k));  // by what it adds to
  const uses = indices.map((k) => indices.filter((user) => nodes[user].inputs.includes(k)));
  const term = (step) => (into[step.source].length > 1 ? `.term.term${Math.min(step.arrival, 4)}` : "");
  steps.forEach((step, number) => { step.number = number; step.edge = `${step.op}.${step.argument}`; });

  const moments = [{ phase: "start" },
    ...indices.filter((k) => nodes[k].op).map((node) => ({ phase: "forward", node })),
    ...steps.map((step) => ({ phase: "backward", step })), { phase: "end" }];
  moments.forEach((moment, order) => { moment.order = order; });

  let view, boxOf, visible, at = 0;
  let cutting = false, predicting = false, revealed = true, guess = null, reading = false;

  function isVisible({ phase, step, node }) {
    if (phase === "backward") return boxOf.get(step.op) !== boxOf.get(step.source);
    if (phase !== "forward") return true;
    const box = boxOf.get(node);  // of a folded module only what leaves it
    return !view.boxes[box].module || !uses[node].length || uses[node].some((user) => boxOf.get(user) !== box);
  }

  function open(name) {
    const order = visible?.[at].order ?? 0;
    view = views.find((candidate) => candidate.name === name);
    boxOf = new Map(view.boxes.flatMap((box, k) => box.nodes.map((node) => [node, k])));
    visible = moments.filter(isVisible);
    slider.max = visible.length - 1;
    select.value = name;
    draw();
    go(visible.findLastIndex((moment) => moment.order <= order));
  }

  function go(to) {
    at = Math.min(Math.max(to, 0), visible.length - 1);
    cutting = false;
    revealed = !predicting;
    guess = null;
    render();
  }

  function goTo(test) {
    const found = visible.findIndex(test);
    if (found >= 0) go(found);
  }

  function goToStep(step) {  // in the first view that shows it, if this one does not
    const shows = ({ boxes }) => !boxes.some(({ nodes }) => nodes.includes(step.op) && nodes.includes(step.source));
    if (!shows(view)) open(views.find(shows).name);
    goTo((moment) => moment.step === step);
    next.focus();
  }

  // --- the fixed parts of the page ---------------------------------------------------------------

  const button = (label, title, click, kind = "") => h(`button${kind}`, { type: "button", "aria-label": title, title, click }, label);
  const first = button("|◀", "First step (Home)", () => go(0));
  const back = button("◀ Back", "Step back (left arrow)", () => go(at - 1));
  const next = button("Step ▶", "Step on (right arrow)", () => go(at + 1), ".main");
  const last = button("▶|", "Last step (End)", () => go(visible.length - 1));
  const jump = button("⇅", "Jump between an op's forward and its backward", () => {
    const { phase, node, step } = visible[at];
    if (phase === "backward") goTo((m) => m.phase === "forward" && m.node === step.op);
    else goTo((m) => m.phase === "backward" && (m.step.op === node || phase !== "forward"));
  });
  const slider = h("input", { type: "range", min: 0, "aria-label": "Step", input: () => go(Number(slider.value)) });
  const position = h("span.position");
  const predict = h("input", { type: "checkbox", change: () => { predicting = predict.checked; go(at); } });
  const cut = h("input", { type: "checkbox", change: () => { cutting = cut.checked; render(); } });
  const select = h("select", { "aria-label": "Modules", change: () => open(select.value) }, views.map((v) =>
    h("option", { value: v.name }, { "": "all modules folded", "*": "everything open" }[v.name] ?? `open ${v.name}`)));
  const sentence = h("p.sentence", { "aria-live": "polite" });
  const graph = h("div.graph", { tabindex: 0, role: "group", "aria-label": "Graph" });
  const panels = h("div");

  root.append(h("style", script("text/css")), h("section.stepper", { "aria-label": data.title }, h(`h${level}.title`, data.title),
    h("div.bar", h("div", first, back, next, last, jump), slider, position,
      h("label", predict, "Predict first"), h("label", cut, "✂ Cut this edge"), views.length > 1 && select),
    sentence, h("div.columns", graph, panels)));

  // --- the graph ---------------------------------------------------------------------------------

  let drawn = [], edges = new Map();

  function draw() {
    const pad = 14, width = view.width + 2 * pad, height = view.height + 2 * pad;
    edges = new Map(view.edges.map(([op, argument, x, y, ...rest]) => {
      let d = `M${x} ${y}`;
      for (let [x0, y0] = [x, y]; rest.length; [x0, y0] = rest.splice(0, 2)) {
        const middle = (y0 + rest[1]) / 2;
        d += `C${x0} ${middle} ${rest[0]} ${middle} ${rest[0]} ${rest[1]}`;
      }
      return [`${op}.${argument}`, h("path", { d })];
    }));
    drawn = view.boxes.map((box) => {
      const [x, y, w, height] = box.at, top = -height / 2;
      const badge = h("text.badge", { x: w / 2 - 2, y: top - 4 });
      const group = h("g", { transform: `translate(${x} ${y})`, click: () => choose(box) },
        h("rect", { x: -w / 2, y: top, width: w, height, rx: 7 }),
        h("text.name", { y: -3 }, box.title), h("text.small", { y: 13 }, box.subtitle), badge);
      return { group, badge, kind: box.module ? "module" : nodes[box.nodes[0]].kind };
    });
    graph.replaceChildren(h("svg", { viewBox: `${-pad} ${-pad} ${width} ${height}`, width, height, style: `--height:${height}px`, "aria-hidden": true },
      h("defs", h("marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
        h("path", { d: "M0 0 8 4 0 8z" }))),
      [...edges.values()], drawn.map((box) => box.group)));
  }

  function choose(box) {
    if (box.module) return open(box.module);
    const node = box.nodes[0], forward = visible[at].phase === "forward" && nodes[node].op;
    goTo((m) => (forward ? m.node === node : m.step?.source === node));
  }

  function light({ phase, node, step }) {
    const done = phase === "end" ? steps.length : step ? step.number + 1 : 0;
    const sent = steps.slice(0, done);
    const now = step ? [step.edge] : phase === "forward" ? nodes[node].inputs.map((_, k) => `${node}.${k}`) : [];
    const focus = boxOf.get(step ? step.source : node);
    for (const [key, path] of edges) {
      const along = steps.find((s) => s.edge === key), on = now.includes(key);
      path.setAttribute("class", ["edge", on && "on", phase, along ? term(along).replaceAll(".", " ") : "constant",
        along && along.number < done && "sent", on && cutting && "cut"].filter(Boolean).join(" "));
      const backward = done > 0;
      path.setAttribute(backward ? "marker-start" : "marker-end", "url(#head)");
      path.removeAttribute(backward ? "marker-end" : "marker-start");
      if (on) drawn[0].group.before(path);
    }
    drawn.forEach(({ group, badge, kind }, k) => {
      const inside = new Set(view.boxes[k].nodes);
      const wanted = steps.filter((s) => inside.has(s.source)).length;
      const got = sent.filter((s) => inside.has(s.source)).length;
      const lost = cutting && Object.keys(step.cut).some((leaf) => inside.has(Number(leaf)));
      group.setAttribute("class", ["box", kind, k === focus && "focus", lost && "lost"].filter(Boolean).join(" "));
      badge.textContent = !got ? "" : got === wanted ? "∂ ✓" : `∂ ${got} of ${wanted}`;
    });
    if (focus === undefined) return;
    const svg = graph.firstChild, scale = svg.clientHeight / svg.viewBox.baseVal.height;
    const y = view.boxes[focus].at[1] * scale;  // bring it into sight without moving the page
    if (y < graph.scrollTop + 40 || y > graph.scrollTop + graph.clientHeight - 60) graph.scrollTop = y - graph.clientHeight / 2;
  }

  // --- panels ------------------------------------------------------------------------------------

  const some = (list, make) => [list.slice(0, 12).map(make), list.length > 12 && h("p.note", `and ${list.length - 12} more`)];
  const panel = (heading, ...content) => h("section.panel", heading && h(`h${level + 1}`, heading), content);

  function render() {
    const moment = visible[at], { phase, node, step } = moment;
    slider.value = at;
    first.disabled = back.disabled = at === 0;
    next.disabled = last.disabled = at === visible.length - 1;
    cut.disabled = !step?.cut;
    cut.checked = cutting;
    cut.parentNode.title = step && !step.cut ? "Not tried: this graph is too large" : "Leave out one contribution";
    position.textContent = `${phase} · step ${at} of ${visible.length - 1}`;
    slider.setAttribute("aria-valuetext", position.textContent);
    sentence.textContent = say(moment);
    light(moment);
    const show = { start: startPanels, forward: forwardPanels, backward: backwardPanels, end: endPanels }[phase];
    panels.replaceChildren(...show(step ?? node).filter(Boolean));
  }

  function say({ phase, node, step }) {
    if (phase === "start") return `${indices.filter((k) => nodes[k].op).length} ops forward, then ${steps.length} gradients backward, one edge at a time.`;
    if (phase === "end") return "All gradients have arrived.";
    if (phase === "forward") {
      const many = into[node].length;
      return `Forward: ${nodes[node].op} makes ${name(node)} ${tuple(arrays[nodes[node].value].shape)} from ${nodes[node].inputs.map(name).join(", ")}.`
        + (many > 1 ? ` It is used ${many} times, so ${many} gradients will come back.` : "");
    }
    const all = into[step.source].length, rest = all - step.arrival;
    return `Backward: ${nodes[step.op].op} gives ${name(step.source)} ` + (all === 1 ? "its only gradient: complete."
      : `gradient ${step.arrival} of ${all} (${step.role}). ${rest ? `${rest} more on the way.` : "All have arrived: their sum is complete."}`)
      + (revealed ? "" : " Predict it.");
  }

  const leaves = indices.filter((k) => !nodes[k].op && into[k].length);
  const several = indices.filter((k) => into[k].length > 1);

  function startPanels() {
    const sums = some(several, (k, i) => [
      h("p", h("b", name(k)), ` is used ${into[k].length} times, so its gradient is a sum. Go to `, into[k].map((step, j) => [j > 0 && " or ",
        button(step.role, `Go to this contribution: ${step.role}`, () => goToStep(step), term(step))])),
      i === 0 && ledger(k, steps.length)]);
    return [
      data.lead && panel("", h("p", data.lead)),
      panel("Where several gradients meet", several.length ? sums : h("p", "Nowhere: every tensor is used once, so its gradient arrives in one piece.")),
      panel("How to read it",
        h("p", "An op takes the gradient of its output and sends a contribution to each input. A tensor's ledger adds up what arrives. When all is there, the op that made the tensor takes over."),
        h("p", h("b", "← → Home End"), " step and jump; a click on a box goes there. ",
          h("b", "Predict first"), " hides each result until you have guessed. ", h("b", "Cut this edge"), " shows which gradients go wrong without one contribution.")),
    ];
  }

  function endPanels() {
    return [several.length > 0 && panel(`Ledger of ${name(several[0])}`, ledger(several[0], steps.length)),
      panel("Gradients of the leaves", h("div.cards", some(leaves, (k) => card("", `${name(k)}.grad`, into[k].at(-1).total))))];
  }

  const bindings = (node, k) => [...node.parameters.map((p, i) => `${p} = ${name(node.inputs[i])}`), `y = ${name(k)}`].join(", ");

  function forwardPanels(k) {
    const node = nodes[k];
    return [panel("Forward", h("p.rule", node.formula), h("p.where", `where ${bindings(node, k)}`),
      h("div.cards", node.inputs.map((source, i) => card("", name(source), nodes[source].value, {}, node.parameters[i])),
        symbol("→"), card(".result", node.name, node.value, {}, "result"))), sourcePanel(node)];
  }

  function backwardPanels(step) {
    const node = nodes[step.op], all = into[step.source].length;
    return [
      panel("This contribution", h("p.rule", step.equation), h("p.where", `${step.rule}, where ${bindings(node, step.op)}`),
        h("div.cards", card("", `∂L/∂${node.name}`, step.gradient, {}, "gradient in, dy"),
          step.operands.map(([letter, k]) => card("", name(k), nodes[k].value, {}, `value, ${letter}`)),
          symbol("→"), card(".result", `to ${name(step.source)}`, step.value, { hidden: !revealed }, "contribution")),
        shapes(step), predicting && prediction(step)),
      cutting && cutPanel(step),
      panel(`Ledger of ${name(step.source)}: ${step.arrival} of ${all} arrived`, ledger(step.source, step.number, !revealed),
        several.filter((k) => k !== step.source).map((k) => {
          const got = into[k].filter((s) => s.number <= step.number);
          return got.length > 0 && got.length < into[k].length && h("p.open", `Still open: ${name(k)}.grad = `,
            got.map((s) => [h(`span.chip${term(s)}`, s.role), " + "]), `${into[k].length - got.length} more on the way`);
        })),
      sourcePanel(node)];
  }

  // u.grad = [scale path] + [squeeze path] = [so far], as it stands after a step.
  function ledger(k, after, hidden) {
    const terms = into[k], head = symbol(`${name(k)}.grad =`);
    if (terms.length === 1) return h("p", head, " this contribution, the only one");
    const scale = largest(...terms.map((step) => step.value), terms.at(-1).total);
    const arrived = terms.filter((step) => step.number <= after).at(-1);
    return h("div.cards", head, terms.map((step, i) => {
      const now = step.number === after, off = now && cutting;
      return [i > 0 && symbol("+"), step.number > after
        ? h(`div.card.waiting${term(step)}`, h("div.head", step.role), h("p.note", "still on its way"))
        : card(`${term(step)}${now ? ".now" : ""}${off ? ".off" : ""}`, step.role, step.value, { scale, hidden: hidden && now }, off && "✂ cut")];
    }), symbol("="), card(".result", arrived.arrival === terms.length ? "total" : "so far", arrived.total, { scale, hidden }));
  }

  function prediction(step) {
    const array = arrays[step.value], right = Number(array.values[0]);
    if (!array.values.length) return null;
    if (revealed) return guess !== null && h("p.verdict", { role: "status" }, `You said ${digits(guess)}, it is ${digits(right)}: off by ${digits(Math.abs(guess - right))}.`);
    const input = h("input", { type: "number", step: "any" });
    return h("form", { submit: (event) => {
      event.preventDefault();
      guess = input.value === "" ? null : Number(input.value);
      revealed = true;
      render();
      next.focus();
    } }, h("label", `Element [${array.shape.map(() => 0).join(", ")}] of the contribution will be `, input), h("button", "Reveal"));
  }

  function shapes(step) {
    const marked = (shape, axes) => ["(", shape.map((n, k) => [k > 0 && ", ", axes.includes(k) ? h("mark", n) : n]), shape.length === 1 && ",", ")"];
    const summed = step.repeated.length, spread = step.reduced.length;
    return h("p.shapes", "Shapes: dy ", marked(arrays[step.gradient].shape, step.repeated), summed ? " Σ→ " : spread ? " ×→ " : " → ",
      marked(arrays[step.value].shape, step.reduced),
      summed > 0 && h("span.note", " repeated forward, so summed backward"),
      spread > 0 && h("span.note", " reduced forward, so repeated backward"));
  }

  function cutPanel(step) {
    const changed = leaves.filter((k) => k in step.cut), same = leaves.filter((k) => !(k in step.cut));
    return panel(`Without this edge: ${changed.length} of ${leaves.length} gradients of leaves are wrong`, changed.map((k) => {
      const right = into[k].at(-1).total, wrong = step.cut[k], scale = largest(right, wrong);
      return h("div.cards", symbol(`${name(k)}.grad`), card("", "right", right, { scale }), symbol("≠"),
        card(".lost", finite(wrong).some(Boolean) ? "without" : "without: nothing arrives", wrong, { scale }));
    }), same.length > 0 && h("p.note", `Unchanged: ${same.map(name).join(", ")}`));
  }

  function sourcePanel(node) {
    const block = (label, numbers) => numbers.map((k) => [h("div.head", label, h("small", ` ${sources[k].place}`)), h("pre", { tabindex: 0 }, sources[k].lines)]);
    // Not on "toggle", which comes later: a key pressed at once would find the old state.
    const details = h("details.panel",
      h("summary", { click: () => { reading = !details.open; } }, `The lines that ran: ${node.op}`, node.path && h("small", ` in ${node.path}`)),
      h("p.where", `${node.formula}  ⇒  ${node.derivative}`), block("forward", node.forward), block("backward", node.backward));
    details.open = reading;
    return details;
  }

  // --- keys and theme ----------------------------------------------------------------------------

  const keys = { ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), Home: () => go(0), End: () => go(visible.length - 1) };
  function press(event) {
    const { tagName, type } = event.composedPath()[0];
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey || tagName === "SELECT" || type === "number") return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  }
  root.addEventListener("keydown", press);
  // On a page of its own the keys work wherever the focus is.
  if (alone) document.addEventListener("keydown", (event) => event.target === document.body && press(event));

  // JupyterLab has themes of its own; elsewhere the system's setting counts.
  const theme = () => {
    const light = document.body.dataset.jpThemeLight;
    if (light) host.dataset.theme = light === "true" ? "light" : "dark";
  };
  theme();
  new MutationObserver(theme).observe(document.body, { attributeFilter: ["data-jp-theme-light"] });

  open(views[0].name);
})();
