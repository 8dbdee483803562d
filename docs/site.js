// What the theme of the site leaves to do for keyboards and screen readers.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

// What scrolls sideways can be reached by keyboard.
function letFocus() {
  for (const each of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
  }
}
new MutationObserver(letFocus).observe(document.body, { childList: true, subtree: true });
addEventListener("resize", letFocus);
letFocus();
