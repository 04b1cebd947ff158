// Light or dark: the system's choice, or the person's. No module: it runs before the first paint.

(() => {
  const NAME = "tokenwire.theme";
  const root = document.documentElement;

  function stored() {
    try {
      return localStorage.getItem(NAME);
    } catch {
      return null;
    }
  }

  function isDark() {
    if (root.dataset.theme) return root.dataset.theme === "dark";
    return matchMedia("(prefers-color-scheme: dark)").matches;
  }

  const theme = stored();
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;

  window.tokenwireTheme = {
    isDark,
    toggle() {
      root.dataset.theme = isDark() ? "light" : "dark";
      try {
        localStorage.setItem(NAME, root.dataset.theme);
      } catch {
        // It holds until the page is left.
      }
    },
  };
})();
