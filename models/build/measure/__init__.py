"""What a graph costs: work, bytes, time on several engines, memory. Nothing heavy is imported here:

the processes that are timed begin with this package.
"""
