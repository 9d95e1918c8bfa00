"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const byHash = new Map(facts.map((fact) => [fact.hash, fact]));
  const tip = document.getElementById("tip");
  const dialog = document.getElementById("network");
  document.documentElement.classList.add("scripted");

  function fill(element, fact) {
    element.replaceChildren();
    const title = document.createElement("b");
    title.textContent = fact.title;
    element.append(title, ...fact.lines.map((line) => {
      const row = document.createElement("div");
      row.textContent = line;
      return row;
    }));
  }

  function openResult(id) {
    const found = document.getElementById(id);
    if (!(found instanceof HTMLDetailsElement)) return;
    document.querySelectorAll("details.called").forEach((other) => other.classList.remove("called"));
    found.open = true;
    found.classList.add("called");
    found.scrollIntoView({ block: "start" });
  }

  function show(fact) {
    if (fact.rank !== null && fact.rank >= 0) {
      dialog.close();
      openResult(`rank-${fact.rank}`);
      history.replaceState(null, "", `#rank-${fact.rank}`);
      return;
    }
    const body = dialog.querySelector("div");
    fill(body, fact);
    const parent = byHash.get(fact.parent);
    if (parent) {
      const button = document.createElement("button");
      button.textContent = `Its parent: ${parent.title}`;
      button.addEventListener("click", () => show(parent));
      body.append(button);
    }
    const hash = document.createElement("code");
    hash.textContent = fact.hash;
    body.append(hash);
    dialog.querySelector("p").hidden = fact.rank !== null;
    if (!dialog.open) dialog.showModal();
  }

  document.querySelectorAll(".point").forEach((point) => {
    const fact = facts[Number(point.dataset.at)];
    point.querySelector("title").remove();
    point.addEventListener("click", (event) => {
      event.preventDefault();
      show(fact);
    });
    const mark = (on) => document.querySelectorAll(`.point[data-at="${point.dataset.at}"]`)
      .forEach((same) => same.classList.toggle("same", on));
    point.addEventListener("pointermove", (event) => {
      mark(true);
      fill(tip, fact);
      tip.hidden = false;
      const right = event.clientX > window.innerWidth / 2;
      tip.style.left = right ? "" : `${event.clientX + 14}px`;
      tip.style.right = right ? `${window.innerWidth - event.clientX + 14}px` : "";
      tip.style.top = `${Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8)}px`;
    });
    point.addEventListener("pointerleave", () => {
      mark(false);
      tip.hidden = true;
    });
  });

  const last = document.getElementById("until");
  const accepted = document.getElementById("accepted");
  function filter() {
    document.getElementById("until-text").textContent = last.value;
    document.querySelectorAll(".chart .point").forEach((point) => {
      const late = Number(point.dataset.iteration) > Number(last.value);
      point.classList.toggle("hidden", late || (accepted.checked && point.classList.contains("refused")));
    });
  }
  if (last) {
    last.addEventListener("input", filter);
    accepted.addEventListener("input", filter);
  }

  const networks = [...document.querySelectorAll("details.result")];
  networks.slice(1).forEach((one) => { one.open = false; });
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((one) => { one.open = true; });
  });
  window.addEventListener("afterprint", () => { closed.forEach((one) => { one.open = false; }); });
  const follow = () => openResult(location.hash.slice(1));
  window.addEventListener("hashchange", follow);
  follow();
})();
