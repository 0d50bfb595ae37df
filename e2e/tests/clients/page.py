"""Looks at the page of a run with a real browser: page.py URL [FOLDER FOR SCREENSHOTS].

Ends with 3 where there is no Chromium with a driver of its version.
"""
import shutil
import struct
import sys
import tempfile
import zlib
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import SessionNotCreatedException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

def png(width, height):
    """A picture of a bright slope."""
    part = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(255 if x == y else 0 for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def picture(name, data):
    path = Path(tempfile.mkdtemp()) / name
    path.write_bytes(data)
    return str(path)


url, folder = sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None
browser = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
driver = shutil.which("chromedriver")
if not (browser and driver):
    print("page: there is no chromium with chromedriver (Debian: chromium, chromium-driver)")
    sys.exit(3)

options = webdriver.ChromeOptions()
options.binary_location = browser
for flag in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,2400", "--force-device-scale-factor=1"]:
    options.add_argument(flag)
options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
try:
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
except SessionNotCreatedException as error:
    print(f"page: {browser} and {driver} do not go together: {error.msg}")
    sys.exit(3)
try:
    wait = WebDriverWait(page, 60)
    text = lambda id: page.find_element(By.ID, id).text
    # Read at once: it is drawn anew each second.
    points = lambda: page.execute_script("return document.querySelector('#loss polyline.train')?.getAttribute('points')")

    def complaints():
        return [entry for entry in page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    page.get(url)
    wait.until(lambda _: page.find_elements(By.CSS_SELECTOR, "#loss polyline.train"))
    assert "token" not in page.current_url, "the token stays in the address"
    before, progress = points(), page.find_element(By.ID, "progress").get_attribute("value")
    wait.until(lambda _: points() != before)
    assert float(page.find_element(By.ID, "progress").get_attribute("value")) > float(progress)

    # The test ended a layer's process: a fault, and the way out of it.
    wait.until(lambda _: "Another pod for" in text("faults"))
    assert "k, median" in text("privacy")
    assert "waiting for outputs" in text("spent")
    wait.until(lambda _: len(page.find_elements(By.CSS_SELECTOR, "#checkpoints tr")) > 0)

    # Every process and every lane of a step, and the same as figures.
    drawn = lambda what: page.execute_script(f"return [...document.querySelectorAll('{what}')].map((found) => found.textContent)")
    wait.until(lambda _: len(drawn("#timeline line.wire")) >= 12)
    wait.until(lambda _: any("backward of micro-batch" in title for title in drawn("#timeline rect.did title")))
    wait.until(lambda _: (processes := drawn("#processes th"))[:1] == ["designer"] and len(processes) == len(drawn("#layers th")) + 1)

    # By keyboard alone: from one viewer to the next.
    viewer = page.find_element(By.ID, "viewer")
    first = text("viewer-says")
    assert "training data" in first and "hidden" not in first, first
    assert len(page.find_elements(By.CSS_SELECTOR, "#ring-viewer g.unseen")) >= 3, "the designer and two other layers"
    viewer.send_keys(Keys.ARROW_DOWN)
    assert text("viewer-says") != first
    viewer.send_keys(Keys.END)
    assert "all of one size" in text("viewer-says"), text("viewer-says")

    # A picture drawn by keys alone, while the model is trained.
    wait.until(lambda _: page.find_element(By.ID, "try-section").is_displayed())
    paper = page.find_element(By.ID, "paper")
    paper.send_keys(Keys.ARROW_UP, Keys.SPACE, *[Keys.ARROW_DOWN] * 9)
    assert text("try-says") == "Pen down, row 23, column 15 of 28.", text("try-says")
    said = lambda: "says secret-name, after step" in text("try-says")
    # To the file, the ink, the button that clears, the one that asks.
    webdriver.ActionChains(page).send_keys(Keys.TAB * 4, Keys.ENTER).perform()
    wait.until(lambda _: said())
    shares = [float(cell.text.split()[0]) for cell in page.find_elements(By.CSS_SELECTOR, "#answers td:nth-child(2)")]
    assert len(shares) == 8 and shares == sorted(shares, reverse=True) and 50 < sum(shares) < 100.9, shares
    if folder:
        page.find_element(By.ID, "try-section").screenshot(str(folder / "try.png"))

    # One from a file; and what is no picture.
    chooser = page.find_element(By.ID, "picture")
    chooser.send_keys(picture("seven.png", png(20, 20)))
    wait.until(lambda _: text("try-says") == "seven.png: 20 by 20.")
    page.find_element(By.ID, "ask").click()
    wait.until(lambda _: said())
    chooser.send_keys(picture("words.png", b"no picture at all"))
    wait.until(lambda _: "is no picture" in text("try-says"))

    # Everything that is shown has a name for whom does not see it.
    for shown in page.find_elements(By.CSS_SELECTOR, "main svg, main select, main progress, section, canvas, main input, main button"):
        named = shown.accessible_name
        assert named, shown.get_attribute("outerHTML")[:200]

    for scheme in ["light", "dark"]:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme], colour
        if folder:
            page.save_screenshot(str(folder / f"page-{scheme}.png"))
    assert not complaints(), complaints()

    # Who comes without the token is asked for one, and sees nothing.
    page.execute_script("sessionStorage.clear()")
    page.get(url.split("#")[0])
    wait.until(lambda _: page.find_element(By.ID, "door").is_displayed())
    page.find_element(By.ID, "token").send_keys("0" * 40, Keys.ENTER)
    wait.until(lambda _: "not known" in text("state"))
    assert not page.find_element(By.ID, "main").is_displayed()
    print("page: ok")
finally:
    page.quit()
