"""Looks: what holds for every page, whatever its size and colours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

CONTRAST = """() => {
  const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 };
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    const sheet = document.body.appendChild(document.createElement('i'));
    sheet.style.color = 'Canvas';
    const canvas = parse(getComputedStyle(sheet).color);
    sheet.remove();
    return canvas;
  };
  const weak = [];
  for (const element of document.body.querySelectorAll('*')) {
    const text = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || element.value;
    if (!text || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const [a, b] = [light(parse(style.color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) weak.push([element.tagName, element.textContent.trim(), ratio]);
  }
  return weak;
}"""
"""Text whose contrast to what is behind it is less than WCAG 2.2 AA wants."""


def look(page: Page, name: str) -> None:
    """Check what holds for every page, and keep a picture if LINKBACK_TEST_SHOTS names a folder."""
    page.wait_for_load_state()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(CONTRAST) == []
    if folder := os.environ.get("LINKBACK_TEST_SHOTS"):
        size: Any = page.viewport_size
        scheme = "dark" if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else "light"
        page.screenshot(path=Path(folder) / f"{name}-{size['width']}-{scheme}.png", full_page=True)
