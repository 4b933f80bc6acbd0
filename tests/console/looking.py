"""What a browser tells of how a screen looks: what moved while it loaded, and what doesn't fit.

await page.add_init_script(WATCH_SHIFTS)
assert await page.evaluate(UNFIT) == []
"""

from playwright.async_api import CDPSession

WATCH_SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const { value, sources, hadRecentInput } of list.getEntries()) {
    if (!hadRecentInput) window.shifts.push([value, sources.map(({ node }) => nameOf(node)).join(", ")]);
  }
  function nameOf(node) {
    const element = node?.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    return element ? `${element.localName}.${element.className}` : "something that is gone";
  }
}).observe({ type: "layout-shift", buffered: true });
"""
"""Keeps each layout shift that nobody caused by a key or a click: how far things moved (CLS), and which."""

UNFIT = """
() => {
  const page = document.documentElement;
  const wide = page.scrollWidth > page.clientWidth ? [`the page is ${page.scrollWidth} wide`] : [];
  const numbers = [...document.querySelectorAll("input[inputmode]")]
    .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth);
  return [...wide, ...numbers.map(({ value }) => `${value} is cut off`), ...textsOf(document.body).flatMap(cutOff)];

  function textsOf(root) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) if (walker.currentNode.data.trim()) found.push(walker.currentNode);
    return found;
  }

  function cutOff(text) {
    const range = document.createRange();
    range.selectNodeContents(text);
    const { left, right, width } = range.getBoundingClientRect();
    const { clipPath } = getComputedStyle(text.parentElement);
    if (width === 0 || clipPath !== "none") return []; // hidden, or there for screen readers alone
    const outside = boxesAround(text).find((box) => left < box.left - 1 || right > box.right + 1);
    return outside ? [`"${text.data.trim().slice(0, 40)}" leaves ${outside.name}`] : [];
  }

  /** Those that it must stay in: up to one that can be scrolled, or writes an ellipsis. */
  function boxesAround(text) {
    const boxes = [];
    for (let element = text.parentElement; element; element = element.parentElement) {
      const { display, overflowX, textOverflow } = getComputedStyle(element);
      if (["auto", "scroll"].includes(overflowX) || textOverflow === "ellipsis") break;
      if (display === "inline" || display === "contents") continue;
      const { left, right } = element.getBoundingClientRect();
      boxes.push({ left, right, name: `${element.localName}.${element.className}` });
    }
    return boxes;
  }
}
"""
"""The texts that stick out of what they stand in, numbers that are seen in part, and a page that scrolls sideways."""

SCRIPT_BYTES = """
() => performance.getEntriesByType("resource")
  .filter(({ initiatorType, name }) => initiatorType === "script" || name.endsWith(".js"))
  .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)
"""
"""How much of script came over the line for what is shown, as it came."""


async def seconds_of_a_core(devtools: CDPSession) -> float:
    """That the main thread of a page has worked since it was opened; `Performance` is enabled."""
    told = await devtools.send("Performance.getMetrics")
    return float(next(each["value"] for each in told["metrics"] if each["name"] == "ThreadTime"))
