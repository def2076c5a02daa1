from dvae_lib.cli import main

main()
