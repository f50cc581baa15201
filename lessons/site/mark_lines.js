// Marks the lines that the address names, #L12 or #L12-L20.
(() => {
  const lines = document.querySelectorAll(".line");
  const mark = () => {
    const [first, last = first] = (location.hash.match(/^#L\d+(-L\d+)?$/)?.[0].match(/\d+/g) ?? []).map(Number);
    lines.forEach((line, k) => line.classList.toggle("on", first <= k + 1 && k + 1 <= last));
  };
  mark();
  addEventListener("hashchange", mark);
})();
