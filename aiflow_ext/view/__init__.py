"""What a person sees of a run, as text that a browser shows: HTML and SVG, from records alone.

No I/O. What jobs, plugins and other users have written is escaped in all of it.

Others may use: ``seen`` (what the pictures are made from), ``graph.graph_svg``, ``timeline.timeline_svg``,
``style.STYLE``, ``html`` and ``log.log_html``.
"""
