"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const namespace = (document.querySelector("figure svg") || {}).namespaceURI;
  const element = (name, attributes, parent) => {
    const made = document.createElementNS(namespace, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (parent) parent.append(made);
    return made;
  };
  const html = (name, className, parent, text = "") => {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text;
    if (parent) parent.append(made);
    return made;
  };
  const place = (svg, event) => {
    const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
    return [(event.clientX - box.left) / box.width * view.width, (event.clientY - box.top) / box.height * view.height];
  };

  // Numbers as the page writes them.
  const written = ([unit, digits, scale], value, more = digits) => {
    if (!Number.isFinite(value)) return "–";
    const text = Math.abs(value * scale).toLocaleString("en-US", { minimumFractionDigits: more, maximumFractionDigits: more });
    const zero = !/[1-9]/.test(text);
    const sign = zero ? "" : value < 0 ? "−" : unit === "signed" || unit === "return" ? "+" : "";
    return sign + text + (scale === 100 ? "%" : unit === "multiple" ? "×" : "");
  };
  const dayText = (day) => new Date(day * 864e5).toISOString().slice(0, 10);
  const niceTicks = (low, high, most) => {
    const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
    const ticks = [];
    for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) ticks.push(Math.abs(tick) < step * 1e-9 ? 0 : tick);
    return ticks;
  };
  const logTicks = (low, high, most) => {
    if (high / low < 8) return niceTicks(low, high, most);
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const factor of [1, 2, 5]) if (factor * 10 ** power >= low && factor * 10 ** power <= high) ticks.push(factor * 10 ** power);
    return ticks;
  };
  const exactDigits = (ticks, scale) => {
    for (let digits = 0; digits < 12; digits++)
      if (ticks.every((tick) => Math.abs(Number((tick * scale).toFixed(digits)) - tick * scale) < 1e-4 * Math.abs(ticks[1] - ticks[0] || tick) * scale)) return digits;
    return 6;
  };
  const timeTicks = (low, high) => {
    if (high - low < 70) {
      const step = [1, 2, 7, 14].find((days) => (high - low) / days <= 9), ticks = [];
      for (let day = Math.ceil(low); day <= high; day += step) ticks.push([day, dayText(day)]);
      return ticks;
    }
    const first = new Date(low * 864e5), months = first.getUTCFullYear() * 12 + first.getUTCMonth();
    const count = (high - low) / 30.4;
    const step = [1, 2, 3, 6, 12, 24, 60, 120].find((size) => count / size <= 9) || 1200, ticks = [];
    for (let month = Math.ceil(months / step) * step; ; month += step) {
      const day = Date.UTC(Math.floor(month / 12), month % 12) / 864e5;
      if (day > high) return ticks;
      if (day >= low) ticks.push([day, dayText(day).slice(0, step >= 12 ? 4 : 7)]);
    }
  };

  // One box for the value under the pointer or the focus.
  const tip = html("div", "tip", document.body);
  tip.setAttribute("role", "status");
  const showTip = (svg, x, y, text) => {
    const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
    tip.textContent = text;
    tip.classList.add("shown");
    const left = box.left + x / view.width * box.width, top = box.top + y / view.height * box.height;
    tip.style.left = clamp(left - tip.offsetWidth / 2, 4, innerWidth - tip.offsetWidth - 4) + scrollX + "px";
    tip.style.top = top + scrollY - tip.offsetHeight - 14 + "px";
  };
  const hideTip = () => tip.classList.remove("shown");

  // Charts with values to point at: the nearest one is named, arrow keys go from one to the next.
  for (const group of all("[data-points]")) {
    const svg = group.ownerSVGElement, drawing = svg.parentElement;
    const marks = all("circle", group).map((mark) => {
      const title = mark.firstElementChild, text = title.textContent;
      title.remove();
      return [Number(mark.getAttribute("cx")), Number(mark.getAttribute("cy")), text];
    });
    const ring = element("circle", { class: "ring", r: 7 }, svg);
    let at = -1;
    const show = (number) => {
      at = clamp(number, 0, marks.length - 1);
      const [x, y, text] = marks[at];
      ring.setAttribute("cx", x);
      ring.setAttribute("cy", y);
      ring.classList.add("shown");
      showTip(svg, x, y, text);
    };
    const hide = () => {
      ring.classList.remove("shown");
      hideTip();
    };
    drawing.addEventListener("pointermove", (event) => {
      const [x, y] = place(svg, event);
      let best = 0, least = Infinity;
      marks.forEach(([markX, markY], number) => {
        const distance = (markX - x) ** 2 + 0.3 * (markY - y) ** 2;
        if (distance < least) [best, least] = [number, distance];
      });
      show(best);
    });
    drawing.addEventListener("pointerleave", hide);
    drawing.addEventListener("blur", hide);
    drawing.addEventListener("focus", () => drawing.matches(":focus-visible") && show(Math.max(at, 0)));
    drawing.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -1e9, End: 1e9 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      show(at + step);
    });
  }

  // Charts over time: one cursor, one span.
  let view = null, cursor = null, dragged = null, pick = () => {}, narrow = () => {};
  const figures = all("figure[data-time]").map((figure) => {
    const drawing = figure.querySelector(".drawing"), svg = drawing.querySelector("svg");
    const panels = JSON.parse(drawing.dataset.panels);
    const readout = html("p", "readout");
    figure.querySelector("figcaption").after(readout);
    return { figure, drawing, svg, panels, readout, live: element("g", { class: "live" }, svg), over: element("g", { class: "over" }, svg) };
  });
  const whole = figures.length ? figures[0].panels[0].span : [0, 1];
  const data = (chart) => {
    if (chart.days) return chart;
    const { href } = chart.figure.querySelector("a[download]");
    const rows = decodeURIComponent(href.slice(href.indexOf(",") + 1)).trim().split("\n").slice(1).map((row) => row.split(","));
    chart.days = rows.map((row) => Date.parse(row[0]) / 864e5);
    chart.columns = rows[0].map((_, column) => rows.map((row) => (row[column] === "" ? NaN : Number(row[column]))));
    chart.names = all("thead th", chart.figure).map((head) => head.textContent);
    return chart;
  };
  const across = (box, day) => {
    const [low, high] = view || whole;
    return box[0] + (day - low) / (high - low) * box[2];
  };
  const dayAt = (box, x) => {
    const [low, high] = view || whole;
    return clamp(low + (x - box[0]) / box[2] * (high - low), low, high);
  };
  const lastUpTo = (days, day) => {
    let low = 0, high = days.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (days[middle] <= day + 1e-6) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  };
  const scaleOf = (panel, low, high) => {
    const [, top, , height] = panel.box, up = panel.log ? Math.log : (value) => value;
    return (value) => top + height * (1 - (up(value) - up(low)) / (up(high) - up(low)));
  };
  const drawImage = (chart, panel) => {
    const [left, top, width, height] = panel.box, [low, high] = view;
    const from = left + (low - whole[0]) / (whole[1] - whole[0]) * width, part = (high - low) / (whole[1] - whole[0]) * width;
    const inner = element("svg", { x: left, y: top, width, height, viewBox: [from, top, part, height].join(" "), preserveAspectRatio: "none" }, chart.live);
    inner.append(chart.svg.querySelector("[data-image]").cloneNode());
    inner.firstChild.removeAttribute("clip-path");
  };
  const drawPanel = (chart, panel, first, last) => {
    if (panel.image) return drawImage(chart, panel);
    const seen = [...panel.lines.map(([column]) => column), ...panel.bands.flatMap(([low, high]) => [low, high])];
    let low = Infinity, high = -Infinity;
    for (const column of seen)
      for (let row = first; row <= last; row++) {
        const value = chart.columns[column][row];
        if (value < low) low = value;
        if (value > high) high = value;
      }
    if (low > high) return;
    if (panel.zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    const margin = panel.log ? 0 : 0.04 * (high - low) || 1e-9;
    if (!(panel.zero && low === 0)) low -= margin;
    if (!(panel.zero && high === 0)) high += margin;
    if (panel.log) [low, high] = [low * 0.985, high * 1.015];
    const up = scaleOf(panel, low, high), [left, top, width, height] = panel.box;
    panel.now = up;
    const ticks = (panel.log ? logTicks : niceTicks)(low, high, Math.max(3, height / 40)), digits = exactDigits(ticks, panel.unit[2]);
    for (const tick of ticks) {
      element("line", { x1: left, x2: left + width, y1: up(tick), y2: up(tick), stroke: "var(--grid)" }, chart.live);
      element("text", { x: left - 10, y: up(tick) + 4, "text-anchor": "end" }, chart.live).textContent = written(panel.unit, tick, digits);
    }
    const inner = element("svg", { x: left, y: top, width, height, viewBox: panel.box.join(" ") }, chart.live);
    const point = (column, row) => `${across(panel.box, chart.days[row]).toFixed(1)} ${up(chart.columns[column][row]).toFixed(1)}`;
    const path = (column, rows) => {
      let pen = "M";
      return rows.map((row) => {
        if (!Number.isFinite(chart.columns[column][row])) { pen = "M"; return ""; }
        const text = pen + point(column, row);
        pen = "L";
        return text;
      }).join("");
    };
    const every = Math.max(1, Math.floor((last - first) / 2500)), rows = [];
    for (let row = first; row <= last; row += every) rows.push(row);
    if (rows[rows.length - 1] !== last) rows.push(last);
    for (const [lower, upper, role] of panel.bands)
      element("path", { d: path(upper, rows) + path(lower, [...rows].reverse()).replace("M", "L") + "Z", fill: `var(--${role})`, "fill-opacity": 0.17 }, inner);
    if (panel.fill && low <= 0 && high >= 0) {
      const base = up(0), [column, role] = panel.lines[0];
      element("path", { d: `M${across(panel.box, chart.days[first])} ${base}` + path(column, rows).replaceAll("M", "L") + `L${across(panel.box, chart.days[last])} ${base}Z`, fill: `var(--${role})`, "fill-opacity": 0.2 }, inner);
    }
    const ends = panel.lines.map(([column, role]) => [chart.columns[column][last], column, role]).filter(([value]) => Number.isFinite(value));
    let below = Infinity;
    for (const [value, column, role] of ends.sort(([one], [other]) => one - other)) {
      below = Math.min(up(value), below - 16);
      const label = element("text", { x: left + width + 8, y: below + 4, style: `fill: var(--${role})` }, chart.live);
      label.textContent = `${chart.names[column].split(",")[0]} ${written(panel.unit, value)}`;
    }
    for (const [column, role, strokeWidth] of [...panel.lines].reverse())
      element("path", { d: path(column, rows), fill: "none", stroke: `var(--${role})`, "stroke-width": strokeWidth }, inner);
  };
  const redraw = () => {
    for (const chart of figures) {
      chart.live.replaceChildren();
      chart.figure.toggleAttribute("data-zoomed", Boolean(view));
      for (const panel of chart.panels) panel.now = scaleOf(panel, ...panel.y);
      if (!view) continue;
      const { days } = data(chart), first = Math.max(0, lastUpTo(days, view[0])), last = Math.min(days.length - 1, lastUpTo(days, view[1]) + 1);
      for (const panel of chart.panels) drawPanel(chart, panel, first, last);
      const panel = chart.panels[chart.panels.length - 1], bottom = panel.box[1] + panel.box[3];
      for (const [day, text] of timeTicks(...view))
        element("text", { x: across(panel.box, day), y: bottom + 20, "text-anchor": "middle" }, chart.live).textContent = text;
    }
    bar.classList.toggle("shown", Boolean(view));
    narrow();
    back.hidden = !view;
    span.textContent = view ? `${dayText(view[0])} to ${dayText(view[1])}` : "";
    drawCursor();
  };
  const drawCursor = () => {
    for (const chart of figures) {
      chart.over.replaceChildren();
      chart.readout.textContent = "";
      if (dragged) {
        const [from, to] = dragged.map((day) => across(chart.panels[0].box, day)).sort((one, other) => one - other);
        for (const { box } of chart.panels) element("rect", { class: "brush", x: from, y: box[1], width: to - from, height: box[3] }, chart.over);
      }
      if (cursor === null) continue;
      const { days, columns, names } = data(chart), row = lastUpTo(days, cursor);
      const x = across(chart.panels[0].box, cursor);
      for (const panel of chart.panels) {
        const [, top, , height] = panel.box;
        element("line", { class: "cross", x1: x, x2: x, y1: top, y2: top + height }, chart.over);
        if (row < 0) continue;
        for (const [column, role] of panel.lines)
          if (Number.isFinite(columns[column][row])) element("circle", { cx: across(panel.box, days[row]), cy: panel.now(columns[column][row]), r: 3.4, fill: `var(--${role})` }, chart.over);
      }
      if (row < 0) continue;
      html("b", "", chart.readout, dayText(days[row]));
      for (const panel of chart.panels) {
        if (panel.image) {
          const largest = columns.map((values, column) => [values[row], names[column]]).slice(1).sort(([one], [other]) => other - one);
          for (const [share, name] of largest.slice(0, 4)) html("span", "", chart.readout, ` ${name} ${written(panel.unit, share)}`);
        }
        for (const [column, role] of panel.lines) {
          const value = html("span", "", chart.readout, ` ${names[column]} ${written(panel.unit, columns[column][row])}`);
          value.style.setProperty("--role", `var(--${role})`);
        }
      }
    }
  };
  const bar = html("div", "zoom"), span = html("b", "", bar), back = html("button", "", bar, "Show the whole run");
  back.type = "button";
  if (figures.length) figures[0].figure.parentElement.before(bar);
  const zoom = (next) => {
    view = next && next[1] - next[0] >= 4 && next[1] - next[0] < whole[1] - whole[0] - 0.5 ? next : null;
    redraw();
  };
  back.addEventListener("click", () => zoom(null));
  for (const chart of figures) {
    const box = chart.panels[0].box;
    const snapped = (event) => {
      const { days } = data(chart), day = dayAt(box, place(chart.svg, event)[0]), row = Math.max(0, lastUpTo(days, day));
      return row + 1 < days.length && days[row + 1] - day < day - days[row] ? days[row + 1] : days[row];
    };
    chart.drawing.addEventListener("pointermove", (event) => {
      if (dragged) dragged[1] = dayAt(box, place(chart.svg, event)[0]);
      cursor = snapped(event);
      drawCursor();
    });
    chart.drawing.addEventListener("pointerdown", (event) => {
      if (event.button || event.pointerType === "touch") return;
      event.preventDefault();
      chart.drawing.focus({ preventScroll: true });
      chart.drawing.setPointerCapture(event.pointerId);
      const day = dayAt(box, place(chart.svg, event)[0]);
      dragged = [day, day];
    });
    const finish = () => {
      const chosen = dragged && [...dragged].sort((one, other) => one - other);
      dragged = null;
      if (chosen && across(box, chosen[1]) - across(box, chosen[0]) > 6) zoom(chosen);
      else {
        drawCursor();
        if (chosen) pick(chosen[0]);
      }
    };
    chart.drawing.addEventListener("pointerup", finish);
    chart.drawing.addEventListener("pointercancel", finish);
    chart.drawing.addEventListener("pointerleave", () => {
      if (dragged || chart.drawing === document.activeElement) return;
      cursor = null;
      drawCursor();
    });
    chart.drawing.addEventListener("dblclick", () => zoom(null));
    chart.drawing.addEventListener("focus", () => chart.readout.setAttribute("aria-live", "polite"));
    chart.drawing.addEventListener("blur", () => chart.readout.removeAttribute("aria-live"));
    chart.drawing.addEventListener("keydown", (event) => {
      const { days } = data(chart), [low, high] = view || whole, key = event.key;
      const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20, Home: -1e9, End: 1e9 }[key];
      if (step) {
        const first = Math.max(0, lastUpTo(days, low)), last = lastUpTo(days, high);
        const from = cursor === null ? (step > 0 ? first - 1 : last + 1) : lastUpTo(days, cursor);
        cursor = days[clamp(from + step * (event.shiftKey ? 20 : 1), first, last)];
        drawCursor();
      } else if (key === "+" || key === "-") {
        const middle = cursor === null ? (low + high) / 2 : cursor, half = (high - low) * (key === "+" ? 0.25 : 1);
        zoom([Math.max(whole[0], middle - half), Math.min(whole[1], middle + half)]);
      } else if (key === "Enter" && cursor !== null) pick(cursor, true);
      else if (key === "Escape") {
        cursor = null;
        zoom(null);
      } else return;
      event.preventDefault();
    });
  }
  if (figures.length) redraw();

  // Days and their neighbors: one is shown, chosen from a list, by a click into a chart over time, or by Enter there.
  for (const group of all(".near")) {
    const days = all(":scope > details", group), times = days.map((day) => Date.parse(day.dataset.day) / 864e5);
    const line = html("p", "choice"), choice = html("select", "", html("label", "", line, "Day "));
    const options = days.map((day, at) => Object.assign(html("option", "", choice, day.firstElementChild.textContent), { value: at }));
    const jump = html("button", "", bar);
    jump.type = "button";
    jump.hidden = true;
    const show = (at) => {
      choice.value = at;
      days.forEach((day, other) => { day.hidden = other !== at; day.open = other === at; });
      jump.textContent = `Similar days of ${days[at].dataset.day}`;
    };
    const move = (step) => {
      const free = options.map((_, at) => at).filter((at) => !options[at].hidden), at = free.indexOf(Number(choice.value));
      if (free.length) show(free[clamp(at + step, 0, free.length - 1)]);
    };
    for (const [text, step] of [["Earlier", -1], ["Later", 1]]) {
      const button = html("button", "", line, text);
      button.type = "button";
      button.addEventListener("click", () => move(step));
    }
    choice.addEventListener("change", () => show(Number(choice.value)));
    group.classList.add("one");
    group.before(line);
    show(days.length - 1);
    pick = (day, go) => {
      show(times.reduce((best, time, at) => (Math.abs(time - day) < Math.abs(times[best] - day) ? at : best), 0));
      jump.hidden = false;
      bar.classList.add("shown");
      if (go) jump.click();
    };
    jump.addEventListener("click", () => {
      group.closest("figure").scrollIntoView();
      choice.focus({ preventScroll: true });
    });
    narrow = () => {
      const inside = times.map((time) => !view || (time >= view[0] && time <= view[1]));
      options.forEach((option, at) => { option.hidden = inside.includes(true) && !inside[at]; });
      if (options[choice.value].hidden) move(0);
    };
  }

  // Tables that sort by a column.
  for (const table of all("table[data-sortable]")) {
    const body = table.tBodies[0];
    all("thead th", table).forEach((head, column) => {
      const button = html("button", "", null, head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending";
        for (const other of all("thead th", table)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => {
          const text = row.cells[column].textContent, number = Number(text.replace(/[,%×+]/g, "").replace("−", "-"));
          return text === "–" || text === "" ? -Infinity : Number.isNaN(number) ? text : number;
        };
        const keyed = [...body.rows].map((row) => [value(row), row]);
        const order = (one, other) => (typeof one === typeof other ? (one > other) - (one < other) : typeof one === "number" ? -1 : 1);
        keyed.sort(([one], [other]) => (down ? -order(one, other) : order(one, other)));
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }

  // Commands that can be copied.
  if (navigator.clipboard)
    for (const code of all("code[data-copy]")) {
      const button = html("button", "copy", null, "Copy");
      button.type = "button";
      code.after(button);
      button.addEventListener("click", () => navigator.clipboard.writeText(code.textContent).then(() => { button.textContent = "Copied"; }));
    }
})();
