"""A headless browser that opens the pages of the package as a reader would."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = {"browser": ("chromium", "chromium-browser"), "driver": ("chromedriver",)}
"""The programs that are needed, by the names under which systems install them."""


class Browser:
  """Chromium, driven by Selenium; `driver` has the rest of its interface."""

  def __init__(self, driver: Any):
    self.driver = driver

  def open(self, page: Path | str) -> None:
    """Opens a file or a URL; messages of the page before are forgotten."""
    self.driver.get_log("browser")
    self.driver.get(page.resolve().as_uri() if isinstance(page, Path) else page)

  def wait(self) -> None:
    """Waits for a page of `transformer.inspection` to have drawn everything."""
    self.driver.execute_async_script(
      "const done = arguments[0];"
      "const look = () => document.documentElement.dataset.ready"
      " ? done() : setTimeout(look, 20); look();"
    )

  def messages(self) -> list[str]:
    """What the page has written to the console since the last call, errors of the
    network and of scripts included."""
    return [entry["message"] for entry in self.driver.get_log("browser")]

  def run(self, script: str, *arguments) -> Any:
    """What a function body of JavaScript returns; it reads `arguments`."""
    return self.driver.execute_script(script, *arguments)

  def requests(self) -> list[str]:
    """The URLs of everything that the page has loaded besides itself."""
    script = "return performance.getEntriesByType('resource').map((e) => e.name)"
    return self.run(script)

  def find(self, selector: str) -> Any:
    """The first element that a CSS selector matches."""
    return self.driver.find_element("css selector", selector)

  def find_all(self, selector: str) -> list[Any]:
    """All elements that a CSS selector matches."""
    return self.driver.find_elements("css selector", selector)

  def press(self, *keys: str) -> None:
    """Presses keys, one after another, on the element that has the focus; their names
    are those of `selenium.webdriver.common.keys.Keys`, such as `TAB`."""
    from selenium.webdriver.common.keys import Keys

    for key in keys:
      self.driver.switch_to.active_element.send_keys(getattr(Keys, key, key))

  def hover(self, element: Any, x: int = 0, y: int = 0) -> None:
    """Moves the pointer to `x`, `y` pixels from the middle of an element."""
    from selenium.webdriver.common.action_chains import ActionChains

    chain = ActionChains(self.driver, duration=0)
    chain.move_to_element_with_offset(element, x, y).perform()

  def view(self, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
    """The size of the window in CSS pixels, and `light` or `dark` as the colour scheme
    that the reader prefers."""
    metrics = dict(width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
    self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

  def screenshot(self, file: Path) -> None:
    """Writes the window as a PNG."""
    self.driver.save_screenshot(str(file))


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
  """A browser without a window; the test is skipped where there is none."""
  paths = {}
  for program, names in PROGRAMS.items():
    paths[program] = next(filter(None, map(shutil.which, names)), None)
    if paths[program] is None:
      pytest.skip(f"no {names[0]} on the PATH; install Debian's chromium-driver")
  webdriver = pytest.importorskip("selenium.webdriver")
  options = webdriver.ChromeOptions()
  options.binary_location = paths["browser"]
  for argument in ("--headless=new", "--disable-dev-shm-usage", "--disable-gpu"):
    options.add_argument(argument)
  if os.geteuid() == 0:
    # Chromium refuses to isolate its processes for the superuser, as in a container.
    options.add_argument("--no-sandbox")
  options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
  service = webdriver.ChromeService(executable_path=paths["driver"])
  driver = webdriver.Chrome(options=options, service=service)
  try:
    driver.set_script_timeout(30)
    yield Browser(driver)
  finally:
    driver.quit()
